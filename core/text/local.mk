core_libcore_la_SOURCES += \
	core/text/added.c core/text/added.h \
	core/text/bpe.c core/text/bpe.h \
	core/text/columns.c core/text/columns.h \
	core/text/dataset.c core/text/dataset.h \
	core/text/decode.c core/text/decode.h \
	core/text/fields.c core/text/fields.h \
	core/text/jsonl.c core/text/jsonl.h \
	core/text/normalize.c core/text/normalize.h \
	core/text/pattern.c core/text/pattern.h \
	core/text/pieces.c core/text/pieces.h \
	core/text/postprocess.c core/text/postprocess.h \
	core/text/pretokenize.c core/text/pretokenize.h \
	core/text/rows.c core/text/rows.h \
	core/text/template.c core/text/template.h core/text/template_parts.h \
	core/text/template_yaml.c core/text/template_yaml.h \
	core/text/token_config.c core/text/token_config.h \
	core/text/tokenizer.c core/text/tokenizer.h \
	core/text/tokenizer_files.c core/text/tokenizer_files.h \
	core/text/vocab.c core/text/vocab.h
