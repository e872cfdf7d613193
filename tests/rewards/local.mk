if HAVE_CHECK
REWARD_TEST = tests/algorithms/module.c tests/algorithms/module.h tests/tap.h
check_PROGRAMS += tests/rewards/check_rule tests/rewards/check_judge
tests_rewards_check_rule_SOURCES = tests/rewards/check_rule.c $(REWARD_TEST)
tests_rewards_check_rule_CPPFLAGS = $(TEST_CPP)
tests_rewards_check_rule_CFLAGS = $(TEST_CC)
tests_rewards_check_rule_LDADD = $(TEST_LINK)
tests_rewards_check_judge_SOURCES = tests/rewards/check_judge.c $(REWARD_TEST)
tests_rewards_check_judge_CPPFLAGS = $(TEST_CPP)
tests_rewards_check_judge_CFLAGS = $(TEST_CC)
tests_rewards_check_judge_LDADD = $(TEST_LINK)
TESTS += tests/rewards/check_rule tests/rewards/check_judge
check_PROGRAMS += tests/rewards/check_draws tests/rewards/check_family tests/rewards/check_learning
ASKING = tests/rewards/asking.c tests/rewards/asking.h tests/rewards/tiny.c tests/rewards/tiny.h tests/train/harness.c \
	tests/train/harness.h tests/tap.h
tests_rewards_check_draws_SOURCES = tests/rewards/check_draws.c $(ASKING)
tests_rewards_check_draws_CPPFLAGS = $(TEST_CPP)
tests_rewards_check_draws_CFLAGS = $(TEST_CC)
tests_rewards_check_draws_LDADD = $(TEST_LINK)
tests_rewards_check_family_SOURCES = tests/rewards/check_family.c $(ASKING)
tests_rewards_check_family_CPPFLAGS = $(TEST_CPP)
tests_rewards_check_family_CFLAGS = $(TEST_CC)
tests_rewards_check_family_LDADD = $(TEST_LINK)
tests_rewards_check_learning_SOURCES = tests/rewards/check_learning.c $(ASKING)
tests_rewards_check_learning_CPPFLAGS = $(TEST_CPP)
tests_rewards_check_learning_CFLAGS = $(TEST_CC)
tests_rewards_check_learning_LDADD = $(TEST_LINK)
TESTS += tests/rewards/check_draws tests/rewards/check_family tests/rewards/check_learning tests/rewards/family.sh
endif
if HAVE_CHECK
if HAVE_CURL
check_PROGRAMS += tests/rewards/check_http
tests_rewards_check_http_SOURCES = tests/rewards/check_http.c tests/rewards/server.c tests/rewards/server.h $(REWARD_TEST)
tests_rewards_check_http_CPPFLAGS = $(TEST_CPP)
tests_rewards_check_http_CFLAGS = $(TEST_CC) -pthread
tests_rewards_check_http_LDADD = $(TEST_LINK)
TESTS += tests/rewards/check_http
endif
endif
EXTRA_DIST += tests/rewards/family.sh
