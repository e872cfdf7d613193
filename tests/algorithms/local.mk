# the modules are opened from the build tree: `all` makes them before any test runs
if HAVE_CHECK
check_PROGRAMS += tests/algorithms/check_golden tests/algorithms/check_algorithms
tests_algorithms_check_golden_SOURCES = tests/algorithms/check_golden.c tests/algorithms/module.c \
	tests/algorithms/module.h tests/tap.h
tests_algorithms_check_golden_CPPFLAGS = $(TEST_CPP)
tests_algorithms_check_golden_CFLAGS = $(TEST_CC)
tests_algorithms_check_golden_LDADD = $(TEST_LINK)
tests_algorithms_check_algorithms_SOURCES = tests/algorithms/check_algorithms.c tests/algorithms/module.c \
	tests/algorithms/module.h tests/tap.h
tests_algorithms_check_algorithms_CPPFLAGS = $(TEST_CPP)
tests_algorithms_check_algorithms_CFLAGS = $(TEST_CC)
tests_algorithms_check_algorithms_LDADD = $(TEST_LINK)
TESTS += tests/algorithms/check_golden tests/algorithms/check_algorithms
endif
EXTRA_DIST += tests/golden/generate.py tests/golden/ragged.py tests/golden/formulas_ppo.py \
	tests/golden/formulas_grpo.py tests/golden/requirements.txt \
	tests/golden/sft.json tests/golden/rm.json tests/golden/ppo.json tests/golden/grpo.json
EXTRA_DIST += tests/golden/formulas_dpo.py tests/golden/dpo.json
EXTRA_DIST += tests/golden/formulas_rloo.py tests/golden/formulas_reinforce.py tests/golden/formulas_seed.py \
	tests/golden/rloo.json tests/golden/reinforce.json tests/golden/ppo-seed.json
check_LTLIBRARIES += tests/plugins/wrong_sign.la tests/plugins/wrong.la tests/plugins/wrong_reward.la
tests_plugins_wrong_sign_la_SOURCES = tests/plugins/wrong_sign.c
tests_plugins_wrong_sign_la_LDFLAGS = $(TEST_MODULE_LINK)
tests_plugins_wrong_la_SOURCES = tests/plugins/wrong.c
tests_plugins_wrong_la_LDFLAGS = $(TEST_MODULE_LINK)
TESTS += tests/algorithms/conform.sh
EXTRA_DIST += tests/algorithms/conform.sh
tests_plugins_wrong_reward_la_SOURCES = tests/plugins/wrong_reward.c
tests_plugins_wrong_reward_la_LDFLAGS = $(TEST_MODULE_LINK)
check_LTLIBRARIES += tests/plugins/wrong_rollout.la
tests_plugins_wrong_rollout_la_SOURCES = tests/plugins/wrong_rollout.c
tests_plugins_wrong_rollout_la_LDFLAGS = $(TEST_MODULE_LINK)
EXTRA_DIST += tests/pitfalls.md tests/peer/accuracy.py
if HAVE_CHECK
check_PROGRAMS += tests/algorithms/check_common
tests_algorithms_check_common_SOURCES = tests/algorithms/check_common.c tests/tap.h
tests_algorithms_check_common_CPPFLAGS = $(TEST_CPP) $(PLUGIN_CPP)
tests_algorithms_check_common_CFLAGS = $(TEST_CC)
tests_algorithms_check_common_LDADD = plugins/common/libcommon.la $(TEST_LINK)
TESTS += tests/algorithms/check_common
endif
check_LTLIBRARIES += tests/plugins/wrong_loading.la tests/plugins/wrong_symbols.la
tests_plugins_wrong_loading_la_SOURCES = tests/plugins/wrong_loading.c
tests_plugins_wrong_loading_la_LDFLAGS = $(TEST_MODULE_LINK)
tests_plugins_wrong_symbols_la_SOURCES = tests/plugins/wrong_loading.c
tests_plugins_wrong_symbols_la_CPPFLAGS = $(AM_CPPFLAGS) -DSURPLUS
tests_plugins_wrong_symbols_la_LDFLAGS = $(TEST_MODULE_LINK)
