# Every command runs in .venv, which the first one makes. `make` alone lists them.

PYTHON ?= python3
VENV := .venv/bin/python
FIRST := $(firstword $(sort $(wildcard notebooks/*.ipynb)))

.PHONY: help lab test notebooks mirror exercises stamp book bench

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s%s\n", $$1, $$2}' Makefile

lab: .venv/.installed ## open JupyterLab at the first notebook
	$(VENV) -m jupyterlab --allow-root $(FIRST)

# Three processes for two cores: many tests wait for a browser or another process. With one thread
# each, none waits for a core that another one has.
test: export OMP_NUM_THREADS := 1
test: .venv/.installed ## run every check: style, unit tests, all notebooks, seeded bugs
	$(VENV) -m ruff check
	$(VENV) -m ruff format --check
	.venv/bin/oxlint --deny-warnings transformer_lib
	.venv/bin/oxfmt --check transformer_lib/viewer.js
	$(VENV) -m pytest -n 3 --dist loadfile --no-loadscope-reorder tests notebooks \
		--nbval --nbval-current-env --nbval-cell-timeout=1200 \
		--nbval-sanitize-with tests/nbval_sanitize.cfg
	$(VENV) tests/mutants.py

notebooks: .venv/.installed ## execute and save the notebooks; NB='notebooks/03*' chooses some
	$(VENV) tools/notebooks.py $(NB)

book: .venv/.installed ## build the course as a website, book/_build/html/index.html
	$(VENV) -m sphinx --quiet --fail-on-warning book book/_build/html

mirror: .venv/.installed ## copy the library's definitions into the notebooks
	$(VENV) tools/mirror.py

exercises: .venv/.installed ## write exercises/ without solutions, solutions/ with them filled in
	$(VENV) tools/exercises.py

stamp: .venv/.installed ## put the address of your repository everywhere: REPO=owner/name
	@$(VENV) tools/stamp.py '$(REPO)'

bench: .venv/.installed ## compare our speed with other libraries'; writes benchmarks/RESULTS.md
	$(VENV) -m benchmarks.run

# A .venv whose Python is gone, or that was made in another folder, counts as not installed.
WHERE := import importlib.util as u; print(u.find_spec("transformer_lib").origin)
ifneq ($(shell test "$$($(VENV) -Ic '$(WHERE)' 2>/dev/null)" -ef transformer_lib/__init__.py && echo ok),ok)
$(shell rm -f .venv/.installed)
endif

# Without the stamp the last install did not finish: start afresh, with the downloads pip has kept.
# Byte code is made on all cores at once; a package's templates that are no Python do not count.
# Matplotlib's first import lists the fonts, slowly and with a message, so it happens here.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed. Name yours: make lab PYTHON=python3.12'; exit 1; }
	@test -e $@ || $(PYTHON) -m venv --clear .venv
	$(VENV) -m pip install --no-compile -c constraints.txt -e ".[lab,dev,book]"
	@echo 'Compiling what was installed …'
	@$(VENV) -m compileall -qq -j 0 .venv/lib || true
	@$(VENV) -c 'import matplotlib.font_manager'
	@touch $@
