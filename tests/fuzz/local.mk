# `make fuzz` builds libFuzzer programs with clang: tests/fuzz/fuzz_gguf -max_len=4096 -timeout=5 CORPUS
# and, of an adapter: tests/fuzz/check_adapter CORPUS/seed && tests/fuzz/fuzz_adapter -max_len=2048 CORPUS
FUZZ_CLANG = clang
FUZZ_NAMES = safetensors gguf config adapter
FUZZ_FILES = core/base/buffer.c core/base/error.c core/base/file.c core/base/log.c core/base/maps.c core/base/mem.c core/base/suggest.c core/base/utf8.c \
	core/model/config.c core/model/config_head.c core/model/config_rope.c core/model/dtype.c core/model/family.c core/model/gguf.c core/model/gguf_model.c \
	core/model/gguf_quant.c core/model/gguf_tokenizer.c core/model/json_read.c core/model/peft.c core/model/safetensors.c \
	core/model/spm_merges.c core/model/tensor_table.c core/model/tensors.c
EXTRA_DIST += tests/fuzz/fuzz_safetensors.c tests/fuzz/fuzz_gguf.c tests/fuzz/fuzz_config.c tests/fuzz/fuzz_adapter.c \
	tests/fuzz/fuzz_adapter.h
CLEANFILES += tests/fuzz/fuzz_safetensors tests/fuzz/fuzz_gguf tests/fuzz/fuzz_config tests/fuzz/fuzz_adapter
.PHONY: fuzz
fuzz:
	$(MKDIR_P) tests/fuzz
	for name in $(FUZZ_NAMES); do \
	  sources=; for s in $(FUZZ_FILES) tests/fuzz/fuzz_$$name.c; do sources="$$sources $(top_srcdir)/$$s"; done; \
	  $(FUZZ_CLANG) -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all $(AM_CPPFLAGS) -I$(top_srcdir)/tests \
	    $(JANSSON_CFLAGS) -o tests/fuzz/fuzz_$$name $$sources $(JANSSON_LIBS) $(ZLIB_LIBS) -lm || exit 1; \
	done
if HAVE_CHECK
check_PROGRAMS += tests/fuzz/check_adapter
tests_fuzz_check_adapter_SOURCES = tests/fuzz/check_adapter.c tests/fuzz/fuzz_adapter.c tests/fuzz/fuzz_adapter.h tests/tap.h
tests_fuzz_check_adapter_CPPFLAGS = $(TEST_CPP)
tests_fuzz_check_adapter_CFLAGS = $(TEST_CC)
tests_fuzz_check_adapter_LDADD = $(TEST_LINK)
TESTS += tests/fuzz/check_adapter
endif
