# Pipelines, autotools macros, packaging, documentation, demo.
EXTRA_DIST += conf/autotools/m4/rein_cuda.m4 conf/autotools/m4/rein_core_dir.m4
EXTRA_DIST += README.md LICENSE NEWS.md CONTRIBUTING.md bootstrap conf/packages.sh
