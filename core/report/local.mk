core_libcore_la_SOURCES += \
	core/report/sink.h
