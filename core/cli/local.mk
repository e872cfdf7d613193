core_libcore_la_SOURCES += \
	core/cli/check.c \
	core/cli/cli.c core/cli/cli.h core/cli/commands.h \
	core/cli/cli_generate.c \
	core/cli/cli_report.c \
	core/cli/eval.c \
	core/cli/import.c \
	core/cli/inspect.c \
	core/cli/inspect_checkpoint.c core/cli/inspect_checkpoint.h \
	core/cli/show.c core/cli/show.h \
	core/cli/logprobs.c \
	core/cli/plugins.c \
	core/cli/rows.c core/cli/rows.h \
	core/cli/run.c \
	core/cli/schema.c \
	core/cli/score.c \
	core/cli/session.c core/cli/session.h
