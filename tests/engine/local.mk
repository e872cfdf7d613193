if HAVE_CHECK
check_PROGRAMS += tests/engine/check_engine tests/engine/check_model tests/engine/check_reference
tests_engine_check_engine_SOURCES = tests/engine/check_engine.c tests/engine/engine.c tests/engine/engine.h tests/tap.h
tests_engine_check_engine_CPPFLAGS = $(TEST_CPP)
tests_engine_check_engine_CFLAGS = $(TEST_CC)
tests_engine_check_engine_LDADD = $(TEST_LINK) -lm
tests_engine_check_model_SOURCES = tests/engine/check_model.c tests/engine/engine.c tests/engine/engine.h tests/tap.h
tests_engine_check_model_CPPFLAGS = $(TEST_CPP)
tests_engine_check_model_CFLAGS = $(TEST_CC)
tests_engine_check_model_LDADD = $(TEST_LINK) -lm
tests_engine_check_reference_SOURCES = tests/engine/check_reference.c tests/engine/engine.c tests/engine/engine.h tests/tap.h
tests_engine_check_reference_CPPFLAGS = $(TEST_CPP)
tests_engine_check_reference_CFLAGS = $(TEST_CC)
tests_engine_check_reference_LDADD = $(TEST_LINK) -lm
check_PROGRAMS += tests/engine/check_families
tests_engine_check_families_SOURCES = tests/engine/check_families.c tests/engine/engine.c tests/engine/engine.h tests/tap.h
tests_engine_check_families_CPPFLAGS = $(TEST_CPP)
tests_engine_check_families_CFLAGS = $(TEST_CC)
tests_engine_check_families_LDADD = $(TEST_LINK) -lm
TESTS += tests/engine/check_families
check_PROGRAMS += tests/engine/check_pitfalls
tests_engine_check_pitfalls_SOURCES = tests/engine/check_pitfalls.c tests/engine/engine.c tests/engine/engine.h tests/tap.h
tests_engine_check_pitfalls_CPPFLAGS = $(TEST_CPP)
tests_engine_check_pitfalls_CFLAGS = $(TEST_CC)
tests_engine_check_pitfalls_LDADD = $(TEST_LINK) -lm
TESTS += tests/engine/check_pitfalls
TESTS += tests/engine/check_engine tests/engine/check_model tests/engine/check_reference
endif
EXTRA_DIST += tests/golden/generate_engine.py tests/golden/engine.json
EXTRA_DIST += tests/engine/commands.sh tests/engine/cpu_blas.sh tests/peer/transformers_compare.py \
	tests/peer/transformers_families.py
TESTS += tests/engine/commands.sh tests/engine/cpu_blas.sh
EXTRA_DIST += tests/engine/cpu_blas_families.sh tests/engine/cpu_blas_pitfalls.sh
TESTS += tests/engine/cpu_blas_families.sh tests/engine/cpu_blas_pitfalls.sh
