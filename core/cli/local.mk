core_libcore_la_SOURCES += \
	core/cli/cli.c core/cli/cli.h core/cli/commands.h \
	core/cli/plugins.c \
	core/cli/schema.c \
	core/cli/session.c core/cli/session.h
