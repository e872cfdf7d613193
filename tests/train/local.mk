if HAVE_CHECK
check_PROGRAMS += tests/train/check_numbers tests/train/check_train tests/train/check_resume tests/train/check_scoring \
	tests/train/check_crash
tests_train_check_numbers_SOURCES = tests/train/check_numbers.c tests/tap.h
tests_train_check_numbers_CPPFLAGS = $(TEST_CPP)
tests_train_check_numbers_CFLAGS = $(TEST_CC)
tests_train_check_numbers_LDADD = $(TEST_LINK)
tests_train_check_train_SOURCES = tests/train/check_train.c tests/train/harness.c tests/train/harness.h tests/tap.h
tests_train_check_train_CPPFLAGS = $(TEST_CPP)
tests_train_check_train_CFLAGS = $(TEST_CC)
tests_train_check_train_LDADD = $(TEST_LINK)
tests_train_check_resume_SOURCES = tests/train/check_resume.c tests/train/harness.c tests/train/harness.h tests/tap.h
tests_train_check_resume_CPPFLAGS = $(TEST_CPP)
tests_train_check_resume_CFLAGS = $(TEST_CC)
tests_train_check_resume_LDADD = $(TEST_LINK)
tests_train_check_scoring_SOURCES = tests/train/check_scoring.c tests/train/harness.c tests/train/harness.h tests/tap.h
tests_train_check_scoring_CPPFLAGS = $(TEST_CPP)
tests_train_check_scoring_CFLAGS = $(TEST_CC)
tests_train_check_scoring_LDADD = $(TEST_LINK)
tests_train_check_crash_SOURCES = tests/train/check_crash.c tests/train/harness.c tests/train/harness.h tests/tap.h
tests_train_check_crash_CPPFLAGS = $(TEST_CPP)
tests_train_check_crash_CFLAGS = $(TEST_CC)
tests_train_check_crash_LDADD = $(TEST_LINK)
TESTS += tests/train/check_numbers tests/train/check_train tests/train/check_resume tests/train/check_scoring \
	tests/train/check_crash
endif
EXTRA_DIST += tests/golden/generate_optim.py tests/golden/optim.json
if HAVE_CHECK
check_PROGRAMS += tests/train/check_policy
tests_train_check_policy_SOURCES = tests/train/check_policy.c tests/train/harness.c tests/train/harness.h tests/tap.h
tests_train_check_policy_CPPFLAGS = $(TEST_CPP)
tests_train_check_policy_CFLAGS = $(TEST_CC)
tests_train_check_policy_LDADD = $(TEST_LINK)
TESTS += tests/train/check_policy
endif
