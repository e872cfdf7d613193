if HAVE_CHECK
check_PROGRAMS += tests/train/check_numbers tests/train/check_train tests/train/check_resume tests/train/check_scoring \
	tests/train/check_crash
tests_train_check_numbers_SOURCES = tests/train/check_numbers.c tests/tap.h
tests_train_check_numbers_CPPFLAGS = $(TEST_CPP)
tests_train_check_numbers_CFLAGS = $(TEST_CC)
tests_train_check_numbers_LDADD = $(TEST_LINK)
tests_train_check_train_SOURCES = tests/train/check_train.c tests/train/harness.c tests/train/harness.h tests/dirty.h tests/tap.h
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
check_PROGRAMS += tests/train/check_dpo
tests_train_check_dpo_SOURCES = tests/train/check_dpo.c tests/train/harness.c tests/train/harness.h tests/tap.h
tests_train_check_dpo_CPPFLAGS = $(TEST_CPP)
tests_train_check_dpo_CFLAGS = $(TEST_CC)
tests_train_check_dpo_LDADD = $(TEST_LINK)
TESTS += tests/train/check_dpo
TESTS += tests/train/check_numbers tests/train/check_train tests/train/check_resume tests/train/check_scoring \
	tests/train/check_crash
endif
# TRL's own trainers, end to end
if HAVE_CHECK
check_PROGRAMS += tests/train/check_trainers
tests_train_check_trainers_SOURCES = tests/train/check_trainers.c tests/train/compare.c tests/train/compare.h \
	tests/train/harness.c tests/train/harness.h tests/engine/engine.c tests/engine/engine.h tests/tap.h
tests_train_check_trainers_CPPFLAGS = $(TEST_CPP)
tests_train_check_trainers_CFLAGS = $(TEST_CC)
tests_train_check_trainers_LDADD = $(TEST_LINK) -lm
TESTS += tests/train/check_trainers
endif
EXTRA_DIST += tests/golden/trainers/tiny.py tests/golden/trainers/generate_trainers.py \
	tests/golden/trainers/generate_ppo.py tests/golden/trainers/requirements.txt \
	tests/golden/trainers/completions.jsonl tests/golden/trainers/pairs.jsonl tests/golden/trainers/sft.json \
	tests/golden/trainers/rm.json tests/golden/trainers/dpo.json tests/golden/trainers/grpo.json \
	tests/golden/trainers/ppo.json
EXTRA_DIST += tests/golden/generate_optim.py tests/golden/optim.json
if HAVE_CHECK
check_PROGRAMS += tests/train/check_policy
tests_train_check_policy_SOURCES = tests/train/check_policy.c tests/train/harness.c tests/train/harness.h tests/tap.h
tests_train_check_policy_CPPFLAGS = $(TEST_CPP)
tests_train_check_policy_CFLAGS = $(TEST_CC)
tests_train_check_policy_LDADD = $(TEST_LINK)
TESTS += tests/train/check_policy
endif
if HAVE_CHECK
check_PROGRAMS += tests/train/check_adapters
tests_train_check_adapters_SOURCES = tests/train/check_adapters.c tests/train/harness.c tests/train/harness.h tests/tap.h
tests_train_check_adapters_CPPFLAGS = $(TEST_CPP)
tests_train_check_adapters_CFLAGS = $(TEST_CC)
tests_train_check_adapters_LDADD = $(TEST_LINK) -lm
TESTS += tests/train/check_adapters
endif
