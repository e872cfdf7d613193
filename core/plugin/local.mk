core_libcore_la_SOURCES += \
	core/plugin/backend.h \
	core/plugin/host.h \
	core/plugin/loader.h \
	core/plugin/params.h
