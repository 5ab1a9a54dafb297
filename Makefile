# RTpipeline. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INPUT ?=
OUTPUT ?= out
PATIENTS ?= 6
SEED ?= 7
PROFILE ?= demo
WORKERS ?=
PYTEST_ARGUMENTS ?=
IMAGE_OPTIONS ?=
RUN_OPTIONS := $(if $(WORKERS),--workers $(WORKERS))
CODE := rtpipeline workflows images helm tests bench

.PHONY: help setup run test e2e lint types format bench docs render check-render images clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14
	@echo
	@echo 'make run INPUT=/data/export OUTPUT=/data/out   runs your own export; without INPUT the demo cohort,'
	@echo '                                              with every feature when PROFILE=full'

# uv is bootstrapped inside the virtual environment: it resolves and installs in seconds
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, found %d.%d; set PYTHON=" % sys.version_info[:2])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@$(BIN)/python -c 'import uv' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev,codecs,segmentation,cluster]'
	@$(BIN)/python -m compileall -q rtpipeline workflows
	@$(BIN)/python -c 'from rtpipeline.dvh.warm import warm; warm()'  # compiles for half a minute, once
	@touch $@

setup: $(VENV)/.installed  ## make the virtual environment

run: setup  ## run INPUT (the demo cohort by default) into OUTPUT
ifeq ($(INPUT),)
	@test -f '$(OUTPUT)/demo/truth.json' || \
	  { rm -rf '$(OUTPUT)/demo'; \
	    $(BIN)/rtpipeline demo --out '$(OUTPUT)/demo' --patients $(PATIENTS) --seed $(SEED) --profile $(PROFILE); }
	@$(BIN)/rtpipeline run --input '$(OUTPUT)/demo/dicom' --output '$(OUTPUT)/store' --cohort demo \
	  --config '$(OUTPUT)/demo/config.yaml' $(RUN_OPTIONS)
	@$(BIN)/rtpipeline demo --out '$(OUTPUT)/demo' --compare '$(OUTPUT)/store' --cohort demo
else
	@$(BIN)/rtpipeline run --input '$(INPUT)' --output '$(OUTPUT)' $(RUN_OPTIONS)
endif

# 37 MB; where it cannot be had, the tests of the chart are skipped
$(BIN)/helm: | setup
	@$(BIN)/python -m tests.helm.helm_program $(BIN) >/dev/null || echo 'helm was not fetched'

test: setup $(BIN)/helm  ## run the tests
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -q

e2e: setup  ## tests on the cluster of KUBECONFIG
	@test -n "$${KUBECONFIG:-}" -a -n "$${RT_S3_ENDPOINT:-}" -a -n "$${RT_S3_BUCKET:-}" || \
	  { echo 'make e2e needs an empty test cluster with Argo Workflows and a bucket: KUBECONFIG, RT_S3_ENDPOINT (a URL),'; \
	    echo 'RT_S3_BUCKET, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, helm on the PATH, and both images on its nodes'; \
	    echo '(RT_E2E_IMAGE_REGISTRY, RT_E2E_IMAGE_TAG). Optional: see tests/e2e/settings.py.'; exit 2; }
	@$(BIN)/python -m pytest tests/e2e -q $(PYTEST_ARGUMENTS)

lint: setup  ## ruff and the type checker
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy

format: setup  ## rewrite the code in the project's format
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

bench: setup  ## run the benchmarks
	@for file in bench/*.py; do echo "== $$file"; $(BIN)/python $$file; done

docs: setup  ## write the data dictionary and the configuration's schema into docs/
	@$(BIN)/python -m rtpipeline.contracts.tables > docs/data_dictionary.md
	@$(BIN)/rtpipeline render-config --schema > docs/config.schema.json

images:  ## build both container images; IMAGE_OPTIONS go to images/build.sh
	@images/build.sh $(IMAGE_OPTIONS)

render: setup  ## write the Argo templates of the stage table into the chart
	@$(BIN)/python -m workflows.render

check-render: setup  ## fail when the chart's Argo templates are stale
	@$(BIN)/python -m workflows.render --check

# by name and not by OUTPUT: that may be the store of someone's data, with the secret of its pseudonyms
clean:  ## remove what make made, results of your own data apart
	rm -rf $(VENV) out/demo out/store build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
