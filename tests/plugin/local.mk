if HAVE_CHECK
check_PROGRAMS += tests/plugin/check_params
tests_plugin_check_params_SOURCES = tests/plugin/check_params.c tests/tap.h
tests_plugin_check_params_CPPFLAGS = $(TEST_CPP)
tests_plugin_check_params_CFLAGS = $(TEST_CC)
tests_plugin_check_params_LDADD = $(TEST_LINK)
TESTS += tests/plugin/check_params
endif
