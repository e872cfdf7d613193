if HAVE_CHECK
check_PROGRAMS += tests/report/check_report
tests_report_check_report_SOURCES = tests/report/check_report.c tests/tap.h
tests_report_check_report_CPPFLAGS = $(TEST_CPP)
tests_report_check_report_CFLAGS = $(TEST_CC) $(PROTOBUF_C_CFLAGS)
tests_report_check_report_LDADD = $(TEST_LINK)
TESTS += tests/report/check_report
endif
