core_libcore_la_SOURCES += \
	core/pipeline/build.h \
	core/pipeline/columns.c core/pipeline/columns.h \
	core/pipeline/instances.c core/pipeline/instances.h \
	core/pipeline/lora_read.c core/pipeline/lora_read.h \
	core/pipeline/models.c core/pipeline/models.h \
	core/pipeline/pipeline.c core/pipeline/pipeline.h \
	core/pipeline/plan.c core/pipeline/plan_print.c core/pipeline/plan.h \
	core/pipeline/resolved.c core/pipeline/resolved.h \
	core/pipeline/runner.c core/pipeline/runner.h \
	core/pipeline/stage_read.c core/pipeline/stage_read.h \
	core/pipeline/wiring.c core/pipeline/wiring.h
