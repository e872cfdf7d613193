EXTRA_DIST += tests/model/rope.json tests/peer/make_rope_golden.py tests/peer/files_compare.py
if HAVE_CHECK
check_PROGRAMS += tests/model/check_config tests/model/check_safetensors tests/model/check_gguf
tests_model_check_config_SOURCES = tests/model/check_config.c tests/tap.h
tests_model_check_config_CPPFLAGS = $(TEST_CPP)
tests_model_check_config_CFLAGS = $(TEST_CC)
tests_model_check_config_LDADD = $(TEST_LINK)
tests_model_check_safetensors_SOURCES = tests/model/check_safetensors.c tests/tap.h
tests_model_check_safetensors_CPPFLAGS = $(TEST_CPP)
tests_model_check_safetensors_CFLAGS = $(TEST_CC)
tests_model_check_safetensors_LDADD = $(TEST_LINK)
tests_model_check_gguf_SOURCES = tests/model/check_gguf.c tests/model/gguf_build.h tests/tap.h
tests_model_check_gguf_CPPFLAGS = $(TEST_CPP) -I$(top_srcdir)/tests/model
tests_model_check_gguf_CFLAGS = $(TEST_CC)
tests_model_check_gguf_LDADD = $(TEST_LINK)
check_PROGRAMS += tests/model/check_gguf_tokenizer
tests_model_check_gguf_tokenizer_SOURCES = tests/model/check_gguf_tokenizer.c tests/model/gguf_build.h tests/tap.h
tests_model_check_gguf_tokenizer_CPPFLAGS = $(TEST_CPP) -I$(top_srcdir)/tests/model
tests_model_check_gguf_tokenizer_CFLAGS = $(TEST_CC)
tests_model_check_gguf_tokenizer_LDADD = $(TEST_LINK)
TESTS += tests/model/check_gguf_tokenizer
# for tests/cli/files.sh
check_PROGRAMS += tests/model/make_gguf
tests_model_make_gguf_SOURCES = tests/model/make_gguf.c tests/model/gguf_build.h
tests_model_make_gguf_CPPFLAGS = $(TEST_CPP) -I$(top_srcdir)/tests/model
tests_model_make_gguf_CFLAGS = $(TEST_CC)
tests_model_make_gguf_LDADD = $(TEST_LINK)
TESTS += tests/model/check_config tests/model/check_safetensors tests/model/check_gguf
endif
