# make bench: how fast the kernels are on this machine
EXTRA_PROGRAMS += tests/bench/bench_kernels
tests_bench_bench_kernels_SOURCES = tests/bench/bench_kernels.c
tests_bench_bench_kernels_CFLAGS = $(AM_CFLAGS) $(BLAS_CFLAGS) $(OPENMP_CFLAGS) -Wno-psabi
tests_bench_bench_kernels_LDFLAGS = $(OPENMP_CFLAGS)
tests_bench_bench_kernels_LDADD = $(BLAS_LIBS)
CLEANFILES += tests/bench/bench_kernels$(EXEEXT) tests/bench/kernels.tsv
BENCH_THREADS = 2

bench: all tests/bench/bench_kernels$(EXEEXT)
	tests/bench/bench_kernels$(EXEEXT) backends/.libs/cpu-blas.so --threads $(BENCH_THREADS) --tsv tests/bench/kernels.tsv
.PHONY: bench
EXTRA_DIST += tests/bench/peer_trl.py
