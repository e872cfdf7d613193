bin_PROGRAMS += rein-conform
rein_conform_SOURCES = core/conform/main.c core/conform/conform.c core/conform/conform.h core/conform/host.c \
	core/conform/config.c core/conform/options.c core/conform/options.h core/conform/watch.c core/conform/watch.h \
	core/conform/algorithm.h core/conform/algorithm_gradient.c core/conform/algorithm_life.c \
	core/conform/algorithm_limits.c core/conform/outcome.c \
	core/conform/conform_algorithm.c core/conform/conform_module.c core/conform/conform_reward.c \
	core/conform/guard.c core/conform/guard.h core/conform/workload.c core/conform/workload.h \
	core/conform/conform_backend.c core/conform/rig.c core/conform/rig.h core/conform/gradient.c \
	core/conform/backend_linear.c core/conform/backend_rows.c core/conform/backend_attention.c \
	core/conform/backend_head.c core/conform/backend_memory.c core/conform/backend_perf.c core/conform/backend_perturb.c \
	core/conform/checks.c
rein_conform_CFLAGS = $(AM_CFLAGS)
rein_conform_LDADD = core/libcore.la
