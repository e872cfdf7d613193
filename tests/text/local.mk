# speaks for tests/peer/tokenizers_compare.py; `make tests/text/tokenize_tool` builds it
EXTRA_PROGRAMS += tests/text/tokenize_tool
tests_text_tokenize_tool_SOURCES = tests/text/tokenize_tool.c
tests_text_tokenize_tool_CPPFLAGS = $(TEST_CPP)
tests_text_tokenize_tool_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_text_tokenize_tool_LDADD = core/libcore.la $(JANSSON_LIBS)
CLEANFILES += tests/text/tokenize_tool

if HAVE_CHECK
check_PROGRAMS += tests/text/check_tokenizer
tests_text_check_tokenizer_SOURCES = tests/text/check_tokenizer.c tests/tap.h
tests_text_check_tokenizer_CPPFLAGS = $(TEST_CPP)
tests_text_check_tokenizer_CFLAGS = $(TEST_CC)
tests_text_check_tokenizer_LDADD = $(TEST_LINK)
TESTS += tests/text/check_tokenizer

check_PROGRAMS += tests/text/check_template
tests_text_check_template_SOURCES = tests/text/check_template.c tests/tap.h
tests_text_check_template_CPPFLAGS = $(TEST_CPP)
tests_text_check_template_CFLAGS = $(TEST_CC)
tests_text_check_template_LDADD = $(TEST_LINK)
TESTS += tests/text/check_template

check_PROGRAMS += tests/text/check_template_yaml
tests_text_check_template_yaml_SOURCES = tests/text/check_template_yaml.c tests/tap.h
tests_text_check_template_yaml_CPPFLAGS = $(TEST_CPP)
tests_text_check_template_yaml_CFLAGS = $(TEST_CC)
tests_text_check_template_yaml_LDADD = $(TEST_LINK)
TESTS += tests/text/check_template_yaml

check_PROGRAMS += tests/text/check_bad_tokenizer
tests_text_check_bad_tokenizer_SOURCES = tests/text/check_bad_tokenizer.c tests/tap.h
tests_text_check_bad_tokenizer_CPPFLAGS = $(TEST_CPP)
tests_text_check_bad_tokenizer_CFLAGS = $(TEST_CC)
tests_text_check_bad_tokenizer_LDADD = $(TEST_LINK)
TESTS += tests/text/check_bad_tokenizer

check_PROGRAMS += tests/text/check_dataset
tests_text_check_dataset_SOURCES = tests/text/check_dataset.c tests/tap.h
tests_text_check_dataset_CPPFLAGS = $(TEST_CPP)
tests_text_check_dataset_CFLAGS = $(TEST_CC) $(ZLIB_CFLAGS)
tests_text_check_dataset_LDADD = $(TEST_LINK) $(ZLIB_LIBS)
TESTS += tests/text/check_dataset
endif

EXTRA_DIST += tests/golden/generate_tokenizers.py tests/golden/tokenizers/bytes.json \
	tests/golden/tokenizers/pieces.json tests/golden/tokenizers/variants.jsonl tests/peer/tokenizers_compare.py

EXTRA_DIST += tests/golden/generate_templates.py tests/golden/templates/texts.jsonl \
	tests/golden/templates/alpaca.jinja tests/golden/templates/chatml.jinja \
	tests/golden/templates/chatml-escaped.jinja tests/golden/templates/chatml-guarded.jinja \
	tests/golden/templates/gemma.jinja tests/golden/templates/mistral.jinja \
	tests/golden/templates/mistral-v0.1.jinja \
	tests/golden/templates/chatml-lines.jinja tests/golden/templates/llama3.jinja \
	tests/golden/templates/plain.jinja tests/golden/templates/qwen2.5.jinja tests/golden/templates/qwen3.jinja \
	tests/golden/templates/smollm2.jinja tests/golden/templates/zephyr.jinja
