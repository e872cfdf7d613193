if HAVE_CHECK
check_PROGRAMS += tests/train/check_numbers
tests_train_check_numbers_SOURCES = tests/train/check_numbers.c tests/tap.h
tests_train_check_numbers_CPPFLAGS = $(TEST_CPP)
tests_train_check_numbers_CFLAGS = $(TEST_CC)
tests_train_check_numbers_LDADD = $(TEST_LINK)
TESTS += tests/train/check_numbers
endif
EXTRA_DIST += tests/golden/generate_optim.py tests/golden/optim.json
