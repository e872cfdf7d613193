if HAVE_CHECK
check_PROGRAMS += tests/plugin/check_params tests/plugin/check_loader
tests_plugin_check_params_SOURCES = tests/plugin/check_params.c tests/tap.h
tests_plugin_check_params_CPPFLAGS = $(TEST_CPP)
tests_plugin_check_params_CFLAGS = $(TEST_CC)
tests_plugin_check_params_LDADD = $(TEST_LINK)
tests_plugin_check_loader_SOURCES = tests/plugin/check_loader.c tests/tap.h
tests_plugin_check_loader_CPPFLAGS = $(TEST_CPP)
tests_plugin_check_loader_CFLAGS = $(TEST_CC)
tests_plugin_check_loader_LDADD = $(TEST_LINK)
TESTS += tests/plugin/check_params tests/plugin/check_loader

# one source, as many modules that the loader must refuse or survive
check_LTLIBRARIES += tests/plugin/good.la
tests_plugin_good_la_SOURCES = tests/plugin/hostile.c
tests_plugin_good_la_CPPFLAGS = $(AM_CPPFLAGS) -DMODULE=GOOD
tests_plugin_good_la_LDFLAGS = $(TEST_MODULE_LINK)
check_LTLIBRARIES += tests/plugin/wrong_abi.la
tests_plugin_wrong_abi_la_SOURCES = tests/plugin/hostile.c
tests_plugin_wrong_abi_la_CPPFLAGS = $(AM_CPPFLAGS) -DMODULE=WRONG_ABI
tests_plugin_wrong_abi_la_LDFLAGS = $(TEST_MODULE_LINK)
check_LTLIBRARIES += tests/plugin/short.la
tests_plugin_short_la_SOURCES = tests/plugin/hostile.c
tests_plugin_short_la_CPPFLAGS = $(AM_CPPFLAGS) -DMODULE=SHORT
tests_plugin_short_la_LDFLAGS = $(TEST_MODULE_LINK)
check_LTLIBRARIES += tests/plugin/no_symbol.la
tests_plugin_no_symbol_la_SOURCES = tests/plugin/hostile.c
tests_plugin_no_symbol_la_CPPFLAGS = $(AM_CPPFLAGS) -DMODULE=NO_SYMBOL
tests_plugin_no_symbol_la_LDFLAGS = $(TEST_MODULE_LINK)
check_LTLIBRARIES += tests/plugin/bad_ops.la
tests_plugin_bad_ops_la_SOURCES = tests/plugin/hostile.c
tests_plugin_bad_ops_la_CPPFLAGS = $(AM_CPPFLAGS) -DMODULE=BAD_OPS
tests_plugin_bad_ops_la_LDFLAGS = $(TEST_MODULE_LINK)
check_LTLIBRARIES += tests/plugin/bad_param.la
tests_plugin_bad_param_la_SOURCES = tests/plugin/hostile.c
tests_plugin_bad_param_la_CPPFLAGS = $(AM_CPPFLAGS) -DMODULE=BAD_PARAM
tests_plugin_bad_param_la_LDFLAGS = $(TEST_MODULE_LINK)
check_LTLIBRARIES += tests/plugin/fp_mode.la
tests_plugin_fp_mode_la_SOURCES = tests/plugin/hostile.c
tests_plugin_fp_mode_la_CPPFLAGS = $(AM_CPPFLAGS) -DMODULE=FP_MODE
tests_plugin_fp_mode_la_LDFLAGS = $(TEST_MODULE_LINK)
check_LTLIBRARIES += tests/plugin/several.la
tests_plugin_several_la_SOURCES = tests/plugin/hostile.c
tests_plugin_several_la_CPPFLAGS = $(AM_CPPFLAGS) -DMODULE=SEVERAL
tests_plugin_several_la_LDFLAGS = $(TEST_MODULE_LINK)
check_LTLIBRARIES += tests/plugin/lacks.la
tests_plugin_lacks_la_SOURCES = tests/plugin/hostile.c
tests_plugin_lacks_la_CPPFLAGS = $(AM_CPPFLAGS) -DMODULE=LACKS
tests_plugin_lacks_la_LDFLAGS = $(TEST_MODULE_LINK)
check_LTLIBRARIES += tests/plugin/bad_name.la
tests_plugin_bad_name_la_SOURCES = tests/plugin/hostile.c
tests_plugin_bad_name_la_CPPFLAGS = $(AM_CPPFLAGS) -DMODULE=BAD_NAME
tests_plugin_bad_name_la_LDFLAGS = $(TEST_MODULE_LINK)
endif
