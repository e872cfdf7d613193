# speaks for tests/peer/tokenizers_compare.py; `make tests/text/tokenize_tool` builds it
EXTRA_PROGRAMS += tests/text/tokenize_tool
tests_text_tokenize_tool_SOURCES = tests/text/tokenize_tool.c
tests_text_tokenize_tool_CPPFLAGS = $(TEST_CPP)
tests_text_tokenize_tool_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
tests_text_tokenize_tool_LDADD = core/libcore.la $(JANSSON_LIBS)
CLEANFILES += tests/text/tokenize_tool
