# Compute backends. The reference backend is part of the host (core/ref).

# cpu-blas: each kernel source once for each instruction set level, picked when the backend is opened.
CPU_ISA_SOURCES = backends/cpu-blas/isa/activation.c backends/cpu-blas/isa/attention.c backends/cpu-blas/isa/dot.c \
	backends/cpu-blas/isa/gemm.c \
	backends/cpu-blas/isa/head.c backends/cpu-blas/isa/memory.c backends/cpu-blas/isa/norm.c \
	backends/cpu-blas/isa/perturb.c \
	backends/cpu-blas/isa/table.c backends/cpu-blas/isa/level.h backends/cpu-blas/isa/tile.h \
	backends/cpu-blas/isa/vec.h backends/cpu-blas/kernels.h
# -f switches rather than -O3, which CFLAGS would override
CPU_ISA_CFLAGS = $(AM_CFLAGS) -ftree-vectorize -fvect-cost-model=dynamic -ffp-contract=fast -Wno-psabi

noinst_LTLIBRARIES += backends/libisa-baseline.la
backends_libisa_baseline_la_SOURCES = $(CPU_ISA_SOURCES)
backends_libisa_baseline_la_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/backends/cpu-blas -DISA_LEVEL=1
backends_libisa_baseline_la_CFLAGS = $(CPU_ISA_CFLAGS)
CPU_ISA_LIBS = backends/libisa-baseline.la
if X86_64
noinst_LTLIBRARIES += backends/libisa-v3.la backends/libisa-v4.la
backends_libisa_v3_la_SOURCES = $(CPU_ISA_SOURCES)
backends_libisa_v3_la_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/backends/cpu-blas -DISA_LEVEL=3
backends_libisa_v3_la_CFLAGS = $(CPU_ISA_CFLAGS) -mavx2 -mfma
backends_libisa_v4_la_SOURCES = $(CPU_ISA_SOURCES)
backends_libisa_v4_la_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/backends/cpu-blas -DISA_LEVEL=4
backends_libisa_v4_la_CFLAGS = $(CPU_ISA_CFLAGS) -mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl \
	-mprefer-vector-width=512
CPU_ISA_LIBS += backends/libisa-v3.la backends/libisa-v4.la
endif

backends_LTLIBRARIES += backends/cpu-blas.la
backends_cpu_blas_la_SOURCES = backends/cpu-blas/plugin.c backends/cpu-blas/attention.c backends/cpu-blas/blas.c \
	backends/cpu-blas/blas.h backends/cpu-blas/device.h backends/cpu-blas/gemm.c backends/cpu-blas/head.c \
	backends/cpu-blas/kernels.h backends/cpu-blas/linear.c backends/cpu-blas/memory.c \
	backends/cpu-blas/parallel.c backends/cpu-blas/rows.c backends/cpu-blas/sample.c
backends_cpu_blas_la_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/backends/cpu-blas
backends_cpu_blas_la_CFLAGS = $(AM_CFLAGS) $(BLAS_CFLAGS) $(OPENMP_CFLAGS)
backends_cpu_blas_la_LDFLAGS = $(MODULE_LINK) $(OPENMP_CFLAGS)
backends_cpu_blas_la_LIBADD = $(CPU_ISA_LIBS) $(BLAS_LIBS)

# cuda: only when the toolkit is there (--with-cuda). As needed: cuBLAS is half a gigabyte to map, so not before it is used.
if HAVE_CUDA
backends_LTLIBRARIES += backends/cuda.la
backends_cuda_la_SOURCES = backends/cuda/cuda.c
backends_cuda_la_CPPFLAGS = $(AM_CPPFLAGS) $(CUDA_CPPFLAGS)
backends_cuda_la_LDFLAGS = $(MODULE_LINK) $(CUDA_LDFLAGS) -Wl,--as-needed
backends_cuda_la_LIBADD = $(CUDA_LIBS)
endif
EXTRA_DIST += backends/cuda/cuda.c
