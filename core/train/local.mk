core_libcore_la_SOURCES += \
	core/train/stage.h
