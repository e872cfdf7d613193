core_libcore_la_SOURCES += \
	core/report/chart.c core/report/chart.h \
	core/report/fanout.c core/report/fanout.h \
	core/report/history.c core/report/history.h \
	core/report/html.c core/report/html.h \
	core/report/record.c core/report/record.h \
	core/report/progress.c core/report/progress.h \
	core/report/report.c core/report/report.h \
	core/report/sink.h \
	core/report/tensorboard.c core/report/tensorboard.h

# TensorBoard's event records, generated in the build folder
nodist_core_libcore_la_SOURCES = core/report/event.pb-c.c core/report/event.pb-c.h
BUILT_SOURCES += core/report/event.pb-c.h
CLEANFILES += core/report/event.pb-c.c core/report/event.pb-c.h
EXTRA_DIST += core/report/event.proto
core/report/event.pb-c.c: core/report/event.proto
	$(AM_V_GEN)$(MKDIR_P) core/report && \
	$(PROTOC_C) --proto_path=$(top_srcdir)/core/report --c_out=core/report $(top_srcdir)/core/report/event.proto
core/report/event.pb-c.h: core/report/event.pb-c.c
