core_libcore_la_SOURCES += \
	core/plugin/backend.c core/plugin/backend.h \
	core/plugin/host.c core/plugin/host.h \
	core/plugin/loader.c core/plugin/loader.h \
	core/plugin/params.c core/plugin/params_print.c core/plugin/params.h \
	core/plugin/trust.c core/plugin/trust.h \
	core/plugin/verify.c core/plugin/verify.h
