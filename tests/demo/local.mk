# The demo's data, quickly; and the demo itself, held to its promises. Minutes, so not a part of `make check`.
TESTS += tests/demo/check_data.sh tests/demo/check_sentiment.sh
SLOW_TESTS =
EXTRA_DIST += tests/demo/check_data.sh tests/demo/check_sentiment.sh
EXTRA_DIST += tests/peer/judge_sentiment.py tests/peer/transformers_load.py

.PHONY: check-slow
check-slow: all
	@test -z "$(SLOW_TESTS)" || $(MAKE) $(AM_MAKEFLAGS) check-TESTS TESTS="$(SLOW_TESTS)" TEST_SUITE_LOG=check-slow.log
