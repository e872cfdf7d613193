EXTRA_DIST += tests/golden/generate_optim.py tests/golden/optim.json
