TESTS += tests/backends/conform.sh
EXTRA_DIST += tests/backends/conform.sh
