core_libcore_la_SOURCES += \
	core/ref/activation.c core/ref/attention.c core/ref/head.c core/ref/linear.c core/ref/memory.c \
	core/ref/norm.c core/ref/optim.c core/ref/perturb.c core/ref/sample.c core/ref/kernels.h core/ref/ref.c core/ref/ref.h
