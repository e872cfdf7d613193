# Compute backends. The reference backend is part of the host (core/ref).

# cpu-blas: each kernel source once for each instruction set level, picked when the backend is opened.
CPU_ISA_SOURCES = backends/cpu-blas/isa/activation.c backends/cpu-blas/isa/attention.c backends/cpu-blas/isa/dot.c \
	backends/cpu-blas/isa/few.c backends/cpu-blas/isa/few.h backends/cpu-blas/isa/gemm.c \
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
if HAVE_AMX
noinst_LTLIBRARIES += backends/libisa-amx.la
backends_libisa_amx_la_SOURCES = backends/cpu-blas/isa/amx.c backends/cpu-blas/isa/amx.h \
	backends/cpu-blas/isa/amx_few.c backends/cpu-blas/isa/table.c backends/cpu-blas/isa/few.h \
	backends/cpu-blas/isa/level.h backends/cpu-blas/isa/tile.h backends/cpu-blas/isa/vec.h backends/cpu-blas/kernels.h
backends_libisa_amx_la_CPPFLAGS = $(backends_libisa_v4_la_CPPFLAGS) -DISA_AMX
backends_libisa_amx_la_CFLAGS = $(backends_libisa_v4_la_CFLAGS) -mamx-tile -mamx-bf16
CPU_ISA_LIBS += backends/libisa-amx.la
CPU_AMX = -DHAVE_AMX
endif
endif

backends_LTLIBRARIES += backends/cpu-blas.la
backends_cpu_blas_la_SOURCES = backends/cpu-blas/plugin.c backends/cpu-blas/attention.c backends/cpu-blas/blas.c \
	backends/cpu-blas/blas.h backends/cpu-blas/device.h backends/cpu-blas/gemm.c backends/cpu-blas/head.c \
	backends/cpu-blas/kernels.h backends/cpu-blas/linear.c backends/cpu-blas/memory.c \
	backends/cpu-blas/parallel.c backends/cpu-blas/rows.c backends/cpu-blas/sample.c
backends_cpu_blas_la_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/backends/cpu-blas $(CPU_AMX)
backends_cpu_blas_la_CFLAGS = $(AM_CFLAGS) $(BLAS_CFLAGS) $(OPENMP_CFLAGS)
backends_cpu_blas_la_LDFLAGS = $(MODULE_LINK) $(OPENMP_CFLAGS)
backends_cpu_blas_la_LIBADD = $(CPU_ISA_LIBS) $(BLAS_LIBS)

# cuda: only when the toolkit is there (--with-cuda). nvcc through libtool: every option is one joined word, since libtool
# reorders "-gencode X" and keeps "-Xcompiler X" for itself. The CUDA runtime is linked, cuBLAS is loaded by the module.
SUFFIXES = .cu
CUDA_KERNELS = backends/cuda/activation.cu backends/cuda/attention.cu backends/cuda/attention_dx.cu backends/cuda/blas.cu \
	backends/cuda/device.cu backends/cuda/head.cu backends/cuda/linear.cu backends/cuda/memory.cu backends/cuda/norm.cu \
	backends/cuda/optim.cu backends/cuda/perturb.cu backends/cuda/rows.cu backends/cuda/sample.cu
CUDA_INCLUDES = backends/cuda/attention.h backends/cuda/blas.h backends/cuda/columns.h backends/cuda/device.h \
	backends/cuda/head.h backends/cuda/launch.h backends/cuda/plugin.h backends/cuda/reduce.h backends/cuda/runtime.h
CUDA_OBJECTS = $(CUDA_KERNELS:.cu=.lo)
if HAVE_CUDA
.cu.lo:
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)$(LIBTOOL) $(AM_V_lt) --tag=CC --mode=compile $(NVCC) --forward-unknown-to-host-compiler -O3 -std=c++17 \
		--compiler-options=-fvisibility=hidden $(CUDA_WARNINGS) $(NVCC_ARCH) $(AM_CPPFLAGS) $(CPPFLAGS) \
		-I$(top_srcdir)/backends/cuda $(NVCCFLAGS) -c $< -o $@
$(CUDA_OBJECTS): $(CUDA_INCLUDES) include/rein/backend.h include/rein/half.h include/rein/perturb.h

backends_LTLIBRARIES += backends/cuda.la
backends_cuda_la_SOURCES = backends/cuda/plugin.c
backends_cuda_la_LDFLAGS = $(MODULE_LINK) $(CUDA_LDFLAGS)
backends_cuda_la_LIBADD = $(CUDA_OBJECTS) $(CUDA_LIBS)
backends_cuda_la_DEPENDENCIES = $(CUDA_OBJECTS)
endif
EXTRA_DIST += backends/cuda/plugin.c $(CUDA_KERNELS) $(CUDA_INCLUDES)
