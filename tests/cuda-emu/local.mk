# An emulated GPU: the sources of backends/cuda compiled as C++ for the CPU. Rules of our own, since libtool would take
# -fsanitize=thread, which is there for its hooks, as a wish to link that sanitizer.
SUFFIXES += .cpp .emuo
EMU_INCLUDES = tests/cuda-emu/backend_host.h tests/cuda-emu/cuda_emu.h tests/cuda-emu/emu.h tests/cuda-emu/emu_api.h tests/cuda-emu/emu_language.h \
	tests/cuda-emu/stream.h
EMU_RUNTIME = tests/cuda-emu/api.cpp tests/cuda-emu/blas.cpp tests/cuda-emu/block.cpp tests/cuda-emu/fibre.cpp \
	tests/cuda-emu/memory.cpp tests/cuda-emu/report.cpp tests/cuda-emu/shared.cpp tests/cuda-emu/stream.cpp \
	tests/cuda-emu/watch.cpp
EMU_TESTS = tests/cuda-emu/check_emu.cu tests/cuda-emu/faults.cu tests/cuda-emu/mutants.cu \
	tests/cuda-emu/narrow.cu
EMU_RUNTIME_OBJECTS = $(EMU_RUNTIME:.cpp=.emuo)
EMU_TEST_OBJECTS = $(EMU_TESTS:.cu=.emuo)
EMU_KERNEL_OBJECTS = $(CUDA_KERNELS:.cu=.emuo)
EMU_MODULE_OBJECTS = tests/cuda-emu/plugin.emuo $(EMU_KERNEL_OBJECTS) $(EMU_RUNTIME_OBJECTS)
EMU_FLAGS = -std=c++17 -O2 -g -fPIC -fvisibility=hidden -fno-math-errno -fno-trapping-math -ffp-contract=off \
	-Wall -Wextra -Wshadow -Wno-unknown-pragmas -Werror -DREIN_CUDA_EMU -I$(top_srcdir)/tests/cuda-emu -I$(top_srcdir)/include \
	-I$(top_srcdir)/backends/cuda

.cpp.emuo:
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(CXX) $(EMU_FLAGS) $(BLAS_CFLAGS) -x c++ -c -o $@ $<
.cu.emuo:
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(CXX) $(EMU_FLAGS) $(EMU_WATCH) -x c++ -c -o $@ $<
$(EMU_RUNTIME_OBJECTS) $(EMU_TEST_OBJECTS) $(EMU_KERNEL_OBJECTS): $(EMU_INCLUDES) $(CUDA_INCLUDES)

tests/cuda-emu/check_emu: tests/cuda-emu/check_emu.emuo $(EMU_RUNTIME_OBJECTS)
	$(AM_V_GEN)$(CXX) -o $@ tests/cuda-emu/check_emu.emuo $(EMU_RUNTIME_OBJECTS) $(LDFLAGS) $(BLAS_LIBS)
tests/cuda-emu/mutants: tests/cuda-emu/mutants.emuo $(EMU_RUNTIME_OBJECTS)
	$(AM_V_GEN)$(CXX) -o $@ tests/cuda-emu/mutants.emuo $(EMU_RUNTIME_OBJECTS) $(LDFLAGS) $(BLAS_LIBS)

tests/cuda-emu/faults: tests/cuda-emu/faults.emuo $(EMU_MODULE_OBJECTS)
	$(AM_V_GEN)$(CXX) -o $@ tests/cuda-emu/faults.emuo $(EMU_MODULE_OBJECTS) $(LDFLAGS) $(BLAS_LIBS)
tests/cuda-emu/narrow: tests/cuda-emu/narrow.emuo $(EMU_MODULE_OBJECTS)
	$(AM_V_GEN)$(CXX) -o $@ tests/cuda-emu/narrow.emuo $(EMU_MODULE_OBJECTS) $(LDFLAGS) $(BLAS_LIBS)

# the backend as a module of its own, not installed; exports what a module exports
tests/cuda-emu/plugin.emuo: backends/cuda/plugin.c $(CUDA_INCLUDES)
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(CC) -std=gnu11 -O2 -fPIC -fvisibility=hidden -DREIN_CUDA_EMU -I$(top_srcdir)/include \
		-c -o $@ $(top_srcdir)/backends/cuda/plugin.c
tests/cuda-emu/cuda-emu.so: $(EMU_MODULE_OBJECTS)
	$(AM_V_GEN)echo '{ global: rein_plugin_entry; local: *; };' > tests/cuda-emu/exports && \
		$(CXX) -shared -o $@ $(EMU_MODULE_OBJECTS) $(LDFLAGS) -Wl,-z,defs -Wl,--version-script=tests/cuda-emu/exports \
		$(BLAS_LIBS) && chmod go-w $@

if HAVE_EMU
check_DATA = tests/cuda-emu/check_emu tests/cuda-emu/faults tests/cuda-emu/mutants tests/cuda-emu/narrow tests/cuda-emu/cuda-emu.so
endif
TESTS += tests/cuda-emu/check_emu.sh tests/cuda-emu/check_mutants.sh tests/cuda-emu/conform.sh tests/cuda-emu/devices.sh \
	tests/cuda-emu/faults.sh
SLOW_TESTS += tests/cuda-emu/engine.sh tests/cuda-emu/schedules.sh tests/cuda-emu/pipelines.sh tests/cuda-emu/every_fault.sh
EXTRA_DIST += $(EMU_INCLUDES) $(EMU_RUNTIME) $(EMU_TESTS) tests/cuda-emu/check_emu.sh tests/cuda-emu/check_mutants.sh \
	tests/cuda-emu/conform.sh tests/cuda-emu/schedules.sh tests/cuda-emu/pipelines.sh tests/cuda-emu/pipeline.yaml \
	tests/cuda-emu/devices.sh tests/cuda-emu/engine.sh tests/cuda-emu/faults.sh tests/cuda-emu/faults.yaml tests/cuda-emu/every_fault.sh
CLEANFILES += $(EMU_MODULE_OBJECTS) $(EMU_TEST_OBJECTS) tests/cuda-emu/check_emu tests/cuda-emu/faults tests/cuda-emu/mutants tests/cuda-emu/narrow \
	tests/cuda-emu/cuda-emu.so tests/cuda-emu/exports
