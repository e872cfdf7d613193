# The host. One convenience library, so that tests link the same objects as the program.
noinst_LTLIBRARIES += core/libcore.la
core_libcore_la_SOURCES =
core_libcore_la_CPPFLAGS = $(AM_CPPFLAGS) -DREIN_PLUGIN_DIR='"$(plugindir)"' -DREIN_SYSCONF_DIR='"$(sysconfdir)/rein"'
core_libcore_la_CFLAGS = $(AM_CFLAGS) $(YAML_CFLAGS) $(JANSSON_CFLAGS) $(PCRE2_CFLAGS) $(UTF8PROC_CFLAGS) \
	$(ZLIB_CFLAGS) $(PROTOBUF_C_CFLAGS)
core_libcore_la_LIBADD = $(YAML_LIBS) $(JANSSON_LIBS) $(PCRE2_LIBS) $(UTF8PROC_LIBS) $(ZLIB_LIBS) $(PROTOBUF_C_LIBS)

# one fragment per folder, in the order in which they may depend on one another
include core/base/local.mk
include core/ref/local.mk
include core/plugin/local.mk
include core/text/local.mk
include core/model/local.mk
include core/report/local.mk
include core/train/local.mk
include core/pipeline/local.mk
include core/cli/local.mk
include core/conform/local.mk

bin_PROGRAMS += rein
rein_SOURCES = core/main.c
rein_CFLAGS = $(AM_CFLAGS)
rein_LDADD = core/libcore.la

pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = core/rein.pc
