# make bench: how fast kernels, sampling and training steps are on this machine, and on its GPU. make bench-scaling: what the cost of a step
# depends on.
EXTRA_PROGRAMS += tests/bench/bench_kernels tests/bench/bench_sgemm
tests_bench_bench_kernels_SOURCES = tests/bench/bench_kernels.c
tests_bench_bench_kernels_CFLAGS = $(AM_CFLAGS) $(BLAS_CFLAGS) $(OPENMP_CFLAGS) -Wno-psabi
tests_bench_bench_kernels_LDFLAGS = $(OPENMP_CFLAGS)
tests_bench_bench_kernels_LDADD = $(BLAS_LIBS)
tests_bench_bench_sgemm_SOURCES = tests/bench/bench_sgemm.c
tests_bench_bench_sgemm_CFLAGS = $(AM_CFLAGS) $(BLAS_CFLAGS)
tests_bench_bench_sgemm_LDADD = $(BLAS_LIBS)
CLEANFILES += tests/bench/bench_kernels$(EXEEXT) tests/bench/bench_sgemm$(EXEEXT) tests/bench/kernels.tsv
TESTS += tests/bench/check_bench.sh
EXTRA_DIST += tests/bench/bench_steps.sh tests/bench/bench_device.sh tests/bench/check_bench.sh tests/bench/peer_trl.py
BENCH_THREADS = 2

bench: all bench-kernels bench-steps bench-device
bench-kernels: all tests/bench/bench_kernels$(EXEEXT)
	tests/bench/bench_kernels$(EXEEXT) backends/.libs/cpu-blas.so --threads $(BENCH_THREADS) --tsv tests/bench/kernels.tsv
bench-steps bench-scaling: all tests/bench/bench_sgemm$(EXEEXT)
	@BENCH_THREADS=$(BENCH_THREADS) BENCH_MODEL='$(BENCH_MODEL)' $(SHELL) $(top_srcdir)/tests/bench/bench_steps.sh . \
	  `test $@ = bench-steps || echo --scaling`
bench-device: all
	@BENCH_THREADS=$(BENCH_THREADS) BENCH_MODEL='$(BENCH_MODEL)' $(SHELL) $(top_srcdir)/tests/bench/bench_device.sh .
.PHONY: bench bench-kernels bench-steps bench-scaling bench-device
