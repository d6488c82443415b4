# `make demo` shows it, `make test` proves it. Both make their own virtual environment in .venv.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := PYTHONWARNINGS=ignore $(PY) -m pip --disable-pip-version-check
MODEL ?=
PORT ?=
FUZZ_S ?= 600
DEMO_FLAGS := $(if $(ONCE),--once) $(if $(MODEL),--model $(MODEL)) $(if $(PORT),--port $(PORT))
SOURCES := server client security tests bench docs/examples run.py

# Extras to install besides: WITH=gpu for models of transformers, and for their tests.
WITH ?=
comma := ,
MORE := $(if $(WITH),$(comma)$(WITH))

.PHONY: setup demo test lint bench bench-vad bench-audit bench-door bench-packs bench-gpu bench-page bench-calls bench-dialects compare fuzz clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo          transcribe a recording live, then serve the microphone page"
	@echo "make demo ONCE=1   the same, and end after the recording"
	@echo "make test          every check and every test"
	@echo "make bench         how fast and how right one stream is, and many; half an hour"
	@echo "make compare       the same streams for us and for other servers; an hour"
	@echo "make bench-gpu     Qwen3-ASR at full size on a GPU; ten minutes"
	@echo "make bench-vad     who hears speech best"
	@echo "make bench-door    what the door costs, and what it keeps out; five minutes"
	@echo "make bench-audit   how much the audit trail takes, and how soon; a minute"
	@echo "make bench-page    what the microphone page hears, and two hours of it; twenty minutes"
	@echo "make bench-calls   what telephone calls cost, and what their protocols cost in words; ten minutes"
	@echo "make bench-dialects  what other people's protocols cost beside ours"
	@echo "make bench-packs   how fast a sealed model opens, beside others"
	@echo "make fuzz          hostile input for every parser, FUZZ_S=600 seconds each"
	@echo "make setup         only make the virtual environment"

setup: $(VENV)/.installed-server

demo: $(VENV)/.installed-server
	$(PY) run.py demo $(DEMO_FLAGS)

test: lint
	$(PY) -m pytest

lint: $(VENV)/.installed-test
	$(PY) -m ruff check $(SOURCES)
	$(PY) -m ruff format --check $(SOURCES)
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/.installed-bench
	$(PY) -m bench.stream $(BENCH_FLAGS)

bench-vad: $(VENV)/.installed-bench
	$(PY) -m bench.vad

compare: $(VENV)/.installed-bench
	$(PY) -m bench.compare $(BENCH_FLAGS)

bench-door: $(VENV)/.installed-bench
	$(PY) -m bench.door $(BENCH_FLAGS)

bench-audit: $(VENV)/.installed-bench
	$(PY) -m bench.audit $(BENCH_FLAGS)

bench-page: $(VENV)/.installed-bench
	$(PY) -m bench.page_session $(BENCH_FLAGS)
	$(PY) -m bench.page_wer

bench-calls: $(VENV)/.installed-bench
	$(PY) -m bench.calls $(BENCH_FLAGS)
	$(PY) -m bench.calls_wer

bench-dialects: $(VENV)/.installed-bench
	$(PY) -m bench.dialects $(BENCH_FLAGS)

bench-packs: $(VENV)/.installed-bench-packs
	$(PY) -m bench.packs $(BENCH_FLAGS)

bench-gpu: $(VENV)/.installed-bench-gpu
	$(PY) -m bench.gpu $(BENCH_FLAGS)

fuzz: $(VENV)/.installed-fuzz
	$(PY) -m bench.fuzz --seconds $(FUZZ_S) $(TARGETS)

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(PY):
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-server: pyproject.toml | $(PY)
	$(PIP) install --quiet --editable '.[server$(MORE)]'
	touch $@

$(VENV)/.installed-test: pyproject.toml | $(PY)
	$(PIP) install --quiet --editable '.[server,test$(MORE)]'
	touch $@ $(VENV)/.installed-server

$(VENV)/.installed-bench: pyproject.toml | $(PY)
	$(PIP) install --quiet --editable '.[server,test,bench]'
	touch $@ $(VENV)/.installed-server $(VENV)/.installed-test

$(VENV)/.installed-bench-packs: pyproject.toml | $(PY)
	$(PIP) install --quiet --editable '.[server,gpu,bench-packs]'
	touch $@

$(VENV)/.installed-bench-gpu: pyproject.toml | $(PY)
	$(PIP) install --quiet --editable '.[server,gpu]'
	touch $@

$(VENV)/.installed-fuzz: pyproject.toml | $(PY)
	$(PIP) install --quiet --editable '.[server,gpu,fuzz]'
	touch $@
