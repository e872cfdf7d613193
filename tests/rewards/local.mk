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
