if HAVE_CHECK
check_PROGRAMS += tests/pipeline/check_pipeline tests/pipeline/check_plan
tests_pipeline_check_pipeline_SOURCES = tests/pipeline/check_pipeline.c tests/pipeline/wrong.h tests/pipeline/wrong_rewards.h tests/tap.h
tests_pipeline_check_pipeline_CPPFLAGS = $(TEST_CPP) -I$(top_srcdir)/tests/pipeline
tests_pipeline_check_pipeline_CFLAGS = $(TEST_CC)
tests_pipeline_check_pipeline_LDADD = $(TEST_LINK)
tests_pipeline_check_plan_SOURCES = tests/pipeline/check_plan.c tests/tap.h
tests_pipeline_check_plan_CPPFLAGS = $(TEST_CPP)
tests_pipeline_check_plan_CFLAGS = $(TEST_CC)
tests_pipeline_check_plan_LDADD = $(TEST_LINK)
TESTS += tests/pipeline/check_pipeline tests/pipeline/check_plan
endif
TESTS += tests/pipeline/shipped.sh
EXTRA_DIST += tests/pipeline/shipped.sh
