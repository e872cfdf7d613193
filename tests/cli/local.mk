EXTRA_DIST += tests/cli/lib.sh tests/cli/plugins.sh tests/cli/run.sh
TESTS += tests/cli/plugins.sh tests/cli/run.sh
EXTRA_DIST += tests/cli/files.sh
if HAVE_CHECK
TESTS += tests/cli/files.sh
endif
EXTRA_DIST += tests/cli/new.sh
TESTS += tests/cli/new.sh
TESTS += tests/cli/average.sh
EXTRA_DIST += tests/cli/average.sh
TESTS += tests/cli/adapters.sh
EXTRA_DIST += tests/cli/adapters.sh
EXTRA_DIST += tests/cli/memory.sh
TESTS += tests/cli/memory.sh
TESTS += tests/cli/resume.sh
EXTRA_DIST += tests/cli/resume.sh
TESTS += tests/cli/bf16.sh
EXTRA_DIST += tests/cli/bf16.sh
