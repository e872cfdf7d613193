core_libcore_la_SOURCES += \
	core/base/buffer.c core/base/buffer.h \
	core/base/error.c core/base/error.h \
	core/base/file.c core/base/file.h \
	core/base/log.c core/base/log.h \
	core/base/maps.c core/base/maps.h \
	core/base/mem.c core/base/mem.h \
	core/base/memlimit.c core/base/memlimit.h \
	core/base/mempeak.c core/base/mempeak.h \
	core/base/node.c core/base/node.h \
	core/base/pages.c core/base/pages.h \
	core/base/rng.c core/base/rng.h \
	core/base/suggest.c core/base/suggest.h \
	core/base/utf8.c core/base/utf8.h \
	core/base/yaml.c core/base/yaml.h
