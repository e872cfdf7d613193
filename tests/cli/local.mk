EXTRA_DIST += tests/cli/lib.sh tests/cli/plugins.sh
TESTS += tests/cli/plugins.sh
