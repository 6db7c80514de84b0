# Building for AWS: python3.13 on arm64, from any Python that closebell supports, without Docker. The Makefile includes this file.
SAM := .venv-sam/bin/sam
export SAM_CLI_TELEMETRY := 0

.PHONY: build profile template-lint sam

build: setup sam  ## sam validate --lint, sam build (python3.13, arm64), then the sizes of what Lambda unpacks
	$(SAM) validate --lint
	UV="$(CURDIR)/$(BIN)/uv" $(SAM) build
	$(BIN)/python -m infra.layer_sizes .aws-sam/build

profile: setup  ## peak memory and import time per function, from a layer built for this machine
	$(BIN)/python -m infra.profile_functions
	@echo "generate_signals deciding 500 symbols x 300 sessions read over HTTP:"
	@$(BIN)/python -m infra.profile_functions --rss-of infra.signal_load:decide_500_symbols

template-lint: setup  ## cfn-lint with the rules of .cfnlintrc.yaml
	$(BIN)/cfn-lint

# SAM CLI pins its dependencies to exact versions, so it has an environment of its own.
sam: $(SAM)

$(SAM): requirements/sam.txt | setup
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-sam
	@$(BIN)/uv pip sync --quiet --python .venv-sam/bin/python --require-hashes requirements/sam.txt
	@touch $@

sam-lock: setup  ## choose the newest SAM CLI and lock it, and lock the functions' layer to what requirements/dev.txt has
	$(COMPILE) requirements/sam.in --output-file requirements/sam.txt
	$(MAKE) --no-print-directory -C layers/deps lock UV="$(CURDIR)/$(BIN)/uv"

.PHONY: sam-lock
