core_libcore_la_SOURCES +=
