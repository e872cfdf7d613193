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
	core/cli/logprobs.c core/cli/merge.c \
	core/cli/new.c \
	core/cli/plugins.c \
	core/cli/rows.c core/cli/rows.h \
	core/cli/run.c \
	core/cli/schema.c \
	core/cli/score.c \
	core/cli/session.c core/cli/session.h

# `rein new`: the templates as arrays of lines
BUILT_SOURCES += core/cli/templates.inc
CLEANFILES += core/cli/templates.inc
core/cli/templates.inc: $(TEMPLATES) $(top_srcdir)/conf/templates/embed.awk
	$(AM_V_GEN)$(MKDIR_P) core/cli && \
	$(AWK) -f $(top_srcdir)/conf/templates/embed.awk $(top_srcdir)/conf/templates $(TEMPLATES:conf/templates/%=%) \
	  >$@.new && mv $@.new $@
TEMPLATES = conf/templates/common/Makefile conf/templates/common/gitignore \
	conf/templates/algorithm/my-name.c conf/templates/algorithm/pipeline.yaml conf/templates/algorithm/README.md \
	conf/templates/reward/my-name.c conf/templates/reward/pipeline.yaml conf/templates/reward/README.md \
	conf/templates/backend/my-name.c conf/templates/backend/pipeline.yaml conf/templates/backend/README.md
EXTRA_DIST += $(TEMPLATES) conf/templates/embed.awk
