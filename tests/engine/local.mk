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
check_PROGRAMS += tests/engine/check_memory
tests_engine_check_memory_SOURCES = tests/engine/check_memory.c tests/engine/engine.c tests/engine/engine.h tests/tap.h
tests_engine_check_memory_CPPFLAGS = $(TEST_CPP)
tests_engine_check_memory_CFLAGS = $(TEST_CC)
tests_engine_check_memory_LDADD = $(TEST_LINK) -lm
TESTS += tests/engine/check_memory
check_PROGRAMS += tests/engine/check_sharing
tests_engine_check_sharing_SOURCES = tests/engine/check_sharing.c tests/engine/engine.c tests/engine/engine.h tests/tap.h
tests_engine_check_sharing_CPPFLAGS = $(TEST_CPP)
tests_engine_check_sharing_CFLAGS = $(TEST_CC)
tests_engine_check_sharing_LDADD = $(TEST_LINK) -lm
TESTS += tests/engine/check_sharing
check_PROGRAMS += tests/engine/check_workspace
tests_engine_check_workspace_SOURCES = tests/engine/check_workspace.c tests/engine/engine.c tests/engine/engine.h tests/tap.h
tests_engine_check_workspace_CPPFLAGS = $(TEST_CPP)
tests_engine_check_workspace_CFLAGS = $(TEST_CC)
tests_engine_check_workspace_LDADD = $(TEST_LINK) -lm
TESTS += tests/engine/check_workspace
TESTS += tests/engine/check_engine tests/engine/check_model tests/engine/check_reference
endif
EXTRA_DIST += tests/golden/generate_engine.py tests/golden/engine.json
EXTRA_DIST += tests/engine/commands.sh tests/engine/cpu_blas.sh tests/peer/transformers_compare.py \
	tests/peer/transformers_families.py
TESTS += tests/engine/commands.sh tests/engine/cpu_blas.sh
EXTRA_DIST += tests/peer/memory_estimate.py
EXTRA_DIST += tests/engine/cpu_blas_families.sh tests/engine/cpu_blas_pitfalls.sh tests/engine/cpu_blas_memory.sh
TESTS += tests/engine/cpu_blas_families.sh tests/engine/cpu_blas_pitfalls.sh tests/engine/cpu_blas_memory.sh
EXTRA_DIST += tests/engine/cpu_blas_sharing.sh
TESTS += tests/engine/cpu_blas_sharing.sh
# adapters
if HAVE_CHECK
check_PROGRAMS += tests/engine/check_lora
tests_engine_check_lora_SOURCES = tests/engine/check_lora.c tests/engine/engine.c tests/engine/engine.h tests/tap.h
tests_engine_check_lora_CPPFLAGS = $(TEST_CPP)
tests_engine_check_lora_CFLAGS = $(TEST_CC)
tests_engine_check_lora_LDADD = $(TEST_LINK) -lm
TESTS += tests/engine/check_lora
endif
EXTRA_DIST += tests/golden/generate_lora.py tests/golden/lora.json tests/engine/cpu_blas_lora.sh tests/peer/peft_compare.py
TESTS += tests/engine/cpu_blas_lora.sh
