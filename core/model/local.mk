core_libcore_la_SOURCES += \
	core/model/config.h \
	core/model/tensors.h \
	core/model/model.h \
	core/model/pass.h \
	core/model/generate.h
