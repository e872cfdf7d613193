bin_PROGRAMS += rein-conform
rein_conform_SOURCES = core/conform/main.c core/conform/conform.c core/conform/conform.h core/conform/host.c \
	core/conform/conform_backend.c core/conform/conform_algorithm.c core/conform/conform_module.c \
	core/conform/conform_reward.c \
	core/conform/guard.c core/conform/guard.h core/conform/workload.c core/conform/workload.h
rein_conform_CFLAGS = $(AM_CFLAGS)
rein_conform_LDADD = core/libcore.la
