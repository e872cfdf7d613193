core_libcore_la_SOURCES += \
	core/model/config.h \
	core/model/tensors.h \
	core/model/model.c core/model/model.h core/model/model_save.c \
	core/model/trunk.h \
	core/model/weights.c core/model/weights.h \
	core/model/transformer.c core/model/transformer.h core/model/backward.c \
	core/model/pass.c core/model/pass.h \
	core/model/generate.h
