TESTS += tests/backends/conform.sh tests/backends/cuda_module.sh
EXTRA_DIST += tests/backends/conform.sh tests/backends/cuda_module.sh
check_LTLIBRARIES += tests/backends/wrong.la
tests_backends_wrong_la_SOURCES = tests/backends/wrong.c
tests_backends_wrong_la_CPPFLAGS = $(AM_CPPFLAGS)
tests_backends_wrong_la_LDFLAGS = $(TEST_MODULE_LINK)
tests_backends_wrong_la_LIBADD = core/libcore.la

# On a device, so not a part of `make check`.
EXTRA_DIST += tests/backends/gpu.sh tests/backends/device.sh
.PHONY: check-gpu
check-gpu: all $(check_PROGRAMS)
	@$(MAKE) $(AM_MAKEFLAGS) check-TESTS TESTS=tests/backends/gpu.sh TEST_SUITE_LOG=check-gpu.log
