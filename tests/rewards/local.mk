if HAVE_CHECK
check_PROGRAMS += tests/rewards/check_rule
tests_rewards_check_rule_SOURCES = tests/rewards/check_rule.c tests/algorithms/module.c tests/algorithms/module.h tests/tap.h
tests_rewards_check_rule_CPPFLAGS = $(TEST_CPP)
tests_rewards_check_rule_CFLAGS = $(TEST_CC)
tests_rewards_check_rule_LDADD = $(TEST_LINK)
TESTS += tests/rewards/check_rule
endif
