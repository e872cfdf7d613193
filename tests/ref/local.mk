if HAVE_CHECK
check_PROGRAMS += tests/ref/check_ref
tests_ref_check_ref_SOURCES = tests/ref/check_ref.c tests/tap.h
tests_ref_check_ref_CPPFLAGS = $(TEST_CPP)
tests_ref_check_ref_CFLAGS = $(TEST_CC)
tests_ref_check_ref_LDADD = $(TEST_LINK)
TESTS += tests/ref/check_ref
endif
