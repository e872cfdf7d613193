core_libcore_la_SOURCES += \
	core/text/tokenizer.h \
	core/text/template.h \
	core/text/dataset.h
