if HAVE_CHECK
check_PROGRAMS += tests/base/check_base
tests_base_check_base_SOURCES = tests/base/check_base.c tests/tap.h
tests_base_check_base_CPPFLAGS = $(TEST_CPP)
tests_base_check_base_CFLAGS = $(TEST_CC)
tests_base_check_base_LDADD = $(TEST_LINK)
TESTS += tests/base/check_base
check_PROGRAMS += tests/base/check_yaml
tests_base_check_yaml_SOURCES = tests/base/check_yaml.c tests/tap.h
tests_base_check_yaml_CPPFLAGS = $(TEST_CPP)
tests_base_check_yaml_CFLAGS = $(TEST_CC)
tests_base_check_yaml_LDADD = $(TEST_LINK)
TESTS += tests/base/check_yaml
endif
