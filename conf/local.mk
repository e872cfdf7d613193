# Pipelines, autotools macros, packaging, documentation, demo.
EXTRA_DIST += conf/autotools/m4/rein_curl.m4 conf/autotools/m4/rein_cuda.m4 conf/autotools/m4/rein_core_dir.m4
EXTRA_DIST += LICENSE CONTRIBUTING.md bootstrap conf/packages.sh conf/build-folder.sh
dist_doc_DATA = README.md NEWS.md conf/doc/architecture.md conf/doc/pipelines.md conf/doc/data.md conf/doc/models.md \
	conf/doc/performance.md conf/doc/writing-plugins.md conf/doc/cuda.md conf/doc/cuda-emu.md
dist_man_MANS = conf/doc/rein.1 conf/doc/rein-conform.1

# The demo is installed whole, so that `$(pkgdatadir)/demo/demo.sh` runs without the source.
demodir = $(pkgdatadir)/demo
demodatadir = $(demodir)/data
demomodeldir = $(demodir)/model
dist_demo_DATA = conf/demo/pipeline.yaml conf/demo/grammar.awk conf/demo/judge.awk conf/demo/show.awk
dist_demo_SCRIPTS = conf/demo/demo.sh
dist_demodata_DATA = conf/demo/data/sft.jsonl conf/demo/data/sft-eval.jsonl conf/demo/data/pairs.jsonl \
	conf/demo/data/pairs-eval.jsonl conf/demo/data/prompts.jsonl conf/demo/data/held-out.jsonl
dist_demomodel_DATA = conf/demo/model/config.json conf/demo/model/tokenizer.json conf/demo/model/tokenizer_config.json
EXTRA_DIST += conf/demo/run.sh conf/demo/make_data.sh conf/demo/make_data.awk conf/demo/make_tokenizer.py

pipelinesdir = $(pkgdatadir)/pipelines
dist_pipelines_DATA = conf/pipelines/dpo.yaml conf/pipelines/grpo-dropout.yaml conf/pipelines/grpo-group.yaml \
	conf/pipelines/grpo.yaml conf/pipelines/lora.yaml conf/pipelines/ppo-mixed.yaml conf/pipelines/ppo-seed.yaml conf/pipelines/ppo.yaml \
	conf/pipelines/reinforce.yaml conf/pipelines/rloo.yaml conf/pipelines/rm-ranked.yaml conf/pipelines/rm.yaml \
	conf/pipelines/sft.yaml conf/pipelines/sentiment-smollm2.yaml conf/pipelines/sentiment-judge.yaml
dist_pipelines_SCRIPTS = conf/pipelines/prepare_sentiment.py conf/pipelines/prepare_addition.py
EXTRA_DIST += conf/packaging/README.md conf/packaging/debian/control conf/packaging/debian/rules \
	conf/packaging/debian/rein.install conf/packaging/debian/rein-dev.install conf/packaging/debian/changelog \
	conf/packaging/debian/copyright conf/packaging/debian/source/format
