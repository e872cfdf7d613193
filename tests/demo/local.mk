# The demo's data and the documentation, quickly; and the demo itself, held to its promises. Minutes, so not a part
# of `make check`: `make check-slow` runs one seed, `make soak` five.
TESTS += tests/demo/check_data.sh tests/demo/check_sentiment.sh tests/demo/check_docs.sh
SLOW_TESTS = tests/demo/demo_holds.sh
EXTRA_DIST += tests/demo/check_data.sh tests/demo/check_sentiment.sh tests/demo/check_docs.sh tests/demo/demo_holds.sh
EXTRA_DIST += tests/peer/judge_sentiment.py tests/peer/transformers_load.py tests/peer/overoptimise.py

.PHONY: check-slow soak
check-slow: all
	@test -z "$(SLOW_TESTS)" || $(MAKE) $(AM_MAKEFLAGS) check-TESTS TESTS="$(SLOW_TESTS)" TEST_SUITE_LOG=check-slow.log
soak: all
	@REIN_DEMO_SEEDS="1 2 3 4 5" $(MAKE) $(AM_MAKEFLAGS) check-TESTS TESTS=tests/demo/demo_holds.sh TEST_SUITE_LOG=soak.log
	@grep '^#' tests/demo/demo_holds.log

mostlyclean-local:
	-rm -rf demo-runs bench.out
