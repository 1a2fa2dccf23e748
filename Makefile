# Two commands: `make demo` indexes the shipped corpus and answers questions, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LANGGRAPH := $(CURDIR)/.langgraph
INSTALLED := $(VENV)/.installed
DEMO := indexes/demo/manifest.json
MODES ?= once,chain,parallel
# The right answer is that of this question: another one has one if it is given.
ifndef QUESTION
QUESTION := Which war ended with an embrace in the town where tungsten was isolated?
GOLD ?= Carlist War
endif

# A word for the shell, whatever quotation marks are in it.
quoted = '$(subst ','\'',$(1))'

.PHONY: demo test slow langgraph graphs check models bench clean

demo: $(DEMO)
	@echo $(call quoted,$(QUESTION))
	@$(BIN)/ragscale ask indexes/demo $(call quoted,$(QUESTION)) --mode $(call quoted,$(MODES)) --tokens 4000 $(if $(GOLD),--gold $(call quoted,$(GOLD)))

test: $(INSTALLED) models
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Minutes to hours: the long property tests and everything else behind the marker.
slow: $(INSTALLED) models
	$(BIN)/python -m pytest -m slow --numprocesses auto --maxprocesses 4

# LangGraph's own server, which wants another protobuf than Ray, sees the packages of .venv from beside it.
langgraph: $(INSTALLED)
	test -d $(LANGGRAPH) || $(PYTHON) -m venv $(LANGGRAPH)
	$(BIN)/python -c 'import site; print(site.getsitepackages()[0])' \
		> "$$($(LANGGRAPH)/bin/python -c 'import site; print(site.getsitepackages()[0])')/venv.pth"
	$(LANGGRAPH)/bin/python -m pip install --quiet 'langgraph-cli[inmem]>=0.4'
	LANGGRAPH=$(LANGGRAPH)/bin/langgraph $(BIN)/python -m pytest -m slow tests/graphs/test_server.py

# After a mode was added or changed: its drawing, langgraph.json, docs/modes.md and README's table.
graphs: $(INSTALLED)
	$(BIN)/python graphs/generate.py

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(INSTALLED) models
	$(BIN)/python benchmarks/build.py
	$(BIN)/python benchmarks/broker.py
	$(BIN)/python benchmarks/langgraph_overhead.py

models: $(INSTALLED)
	$(BIN)/ragscale model fetch

# The manifest's module has the number of the format, the language's that of the rules for words: an index of older ones is
# built again.
$(DEMO): corpora/elements/passages.jsonl ragscale/index/storage/manifest.py $(wildcard ragscale/language/*.py) $(INSTALLED) | models
	$(BIN)/ragscale index build corpora/elements/passages.jsonl --out indexes/demo --force \
		--description "pages of an encyclopedia"

$(INSTALLED): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cpu,embedded,langchain,serve,dev]'
	touch $(INSTALLED)

clean:
	rm -rf $(VENV) $(LANGGRAPH) indexes/demo
