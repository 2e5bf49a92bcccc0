# Every target makes its own .venv. Needed beforehand: make and Python 3.11 or newer.
#   make demo PYTHON=python3.12     takes another interpreter for a new .venv

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check --no-input
BENCHMARKS ?= latency tiling memory quality

# Two pips must not write one .venv at once, and `clean` must not race the rest.
.NOTPARALLEL:
.PHONY: help demo test check bench clean

help:
	@echo "make demo    restore the noisy example photo; before and after in out/"
	@echo "make test    run the tests"
	@echo "make check   ruff and mypy --strict"
	@echo "make bench   run the benchmarks ($(BENCHMARKS))"
	@echo "make clean   remove .venv, out/ and every cache"

demo: $(VENV)/.stamp-cpu
	@$(PY) examples/01_restore_a_photo.py

test: $(VENV)/.stamp-dev
	@$(PY) -m pytest

check: $(VENV)/.stamp-dev
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy --strict -p restore_sdk -p export -p training

bench: $(VENV)/.stamp-dev
	@set -e; for name in $(BENCHMARKS); do echo "== benchmarks/$$name.py"; \
		if [ $$name = quality ]; then $(PY) benchmarks/quality.py --limit 12; else $(PY) benchmarks/$$name.py; fi; done

clean:
	@rm -rf $(VENV) out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

define PYTHON_CHECK
import sys
if sys.version_info < (3, 11):
    sys.exit("restore-sdk needs Python 3.11 or newer, this is %d.%d; run: make PYTHON=python3.11" % sys.version_info[:2])
try:
    import ensurepip, venv
except ImportError:
    sys.exit("this Python cannot make a virtual environment; on Debian or Ubuntu run: apt install python3-venv")
endef
export PYTHON_CHECK

# A .venv that is already there is used as it is; one whose interpreter is gone is made again.
$(VENV)/.stamp-venv:
	@command -v "$(PYTHON)" >/dev/null || { echo "no $(PYTHON) on this machine; install Python 3.11 or newer, or run: make PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -c "$$PYTHON_CHECK"
	@$(PY) -c "import pip" 2>/dev/null || { \
		echo "Making $(VENV) ..."; \
		$(PY) -c "" 2>/dev/null || rm -rf $(VENV); \
		"$(PYTHON)" -m venv $(VENV); }
	@touch $@

$(VENV)/.stamp-cpu: pyproject.toml $(VENV)/.stamp-venv
	@echo "Installing restore-sdk[cpu] into $(VENV) (no PyTorch) ..."
	@$(INSTALL) -e ".[cpu]"
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml $(VENV)/.stamp-venv
	@echo "Installing restore-sdk[dev] into $(VENV) (with PyTorch: this takes a while) ..."
	@$(INSTALL) -e ".[dev]"
	@touch $@
