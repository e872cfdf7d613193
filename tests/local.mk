# Check programs and shell scripts, all speaking TAP.
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/conf/autotools/aux/tap-driver.sh
SH_LOG_DRIVER = $(LOG_DRIVER)
TEST_EXTENSIONS = .sh
AM_TESTS_ENVIRONMENT = top_builddir=$(abs_top_builddir); srcdir=$(abs_top_srcdir); \
	ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1:$$ASAN_OPTIONS; OPENBLAS_NUM_THREADS=1; CK_FORK=no; OMP_WAIT_POLICY=passive; \
	REIN_PLUGIN_PATH=$(abs_top_builddir)/modules; \
	export top_builddir srcdir ASAN_OPTIONS OPENBLAS_NUM_THREADS CK_FORK OMP_WAIT_POLICY REIN_PLUGIN_PATH;

# `make` copies the modules of this build to modules/{algorithms,rewards,backends}/NAME.so, as the loader wants them:
# run the program by hand with REIN_PLUGIN_PATH=$PWD/modules ./rein; tests have it in their environment.
all-local: modules/stamp
modules/stamp: $(algorithms_LTLIBRARIES) $(rewards_LTLIBRARIES) $(backends_LTLIBRARIES)
	$(AM_V_GEN)rm -rf modules && $(MKDIR_P) modules/algorithms modules/rewards modules/backends && \
	chmod go-w modules modules/* && \
	for kind in 'algorithms $(algorithms_LTLIBRARIES)' 'rewards $(rewards_LTLIBRARIES)' 'backends $(backends_LTLIBRARIES)'; do \
	  set -- $$kind; to=modules/$$1; shift; \
	  for la; do \
	    so=`basename $$la .la`.so; \
	    $(INSTALL_PROGRAM) `dirname $$la`/.libs/$$so $$to/$$so || exit 1; \
	  done; \
	done; echo built > $@
clean-local:
	-rm -rf modules

TEST_CPP = $(AM_CPPFLAGS) -I$(top_srcdir)/tests -DBUILD_DIR='"$(abs_top_builddir)"' -DSOURCE_DIR='"$(abs_top_srcdir)"'
TEST_CC = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JANSSON_CFLAGS)
TEST_LINK = core/libcore.la $(CHECK_LIBS) $(JANSSON_LIBS)
TEST_MODULE_LINK = -module -avoid-version -shared -rpath /nowhere $(AM_LDFLAGS)

# each module's tests in a fragment of their own
include tests/base/local.mk
include tests/plugin/local.mk
include tests/cli/local.mk
include tests/pipeline/local.mk
include tests/ref/local.mk
include tests/report/local.mk
include tests/train/local.mk
include tests/demo/local.mk
EXTRA_DIST += tests/run.sh tests/tally.sh
include tests/algorithms/local.mk
include tests/model/local.mk
include tests/fuzz/local.mk
include tests/text/local.mk
include tests/rewards/local.mk
include tests/engine/local.mk
include tests/backends/local.mk
include tests/cuda-emu/local.mk
include tests/bench/local.mk

TESTS += tests/structure.sh
EXTRA_DIST += tests/structure.sh
include tests/out_of_tree/local.mk
