# The demo held to its promises. Minutes, so not a part of `make check`.
SLOW_TESTS =

.PHONY: check-slow
check-slow: all
	@test -z "$(SLOW_TESTS)" || $(MAKE) $(AM_MAKEFLAGS) check-TESTS TESTS="$(SLOW_TESTS)" TEST_SUITE_LOG=check-slow.log
