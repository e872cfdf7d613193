core_libcore_la_SOURCES += \
	core/train/batch.c core/train/batch.h \
	core/train/metrics.c core/train/metrics.h \
	core/train/optimizer.c core/train/optimizer.h \
	core/train/samples.c core/train/samples.h \
	core/train/schedule.c core/train/schedule.h \
	core/train/stage.h
