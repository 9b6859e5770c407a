# Every target does all of its own set-up (scripts/setup); the second time it costs nothing.
.PHONY: demo test learn check bench

LEARN = tests/train/test_learns.py  # minutes of CPU: a step of their own

demo:  ## the whole mission: every environment played, one attacked, one audited, a model trained
	@scripts/setup python sandboxes browser
	@.venv/bin/python scripts/demo

test:  ## the test suite, without what `learn` runs; ARGS="-k judge -x" narrows it
	@scripts/setup python sandboxes browser
	@.venv/bin/python -m pytest -n 2 --dist loadfile --session-timeout=1500 --ignore=$(LEARN) $(ARGS)

learn:  ## does a model learn, and does nothing else teach it: trains several
	@scripts/setup python
	@.venv/bin/python -m pytest -n 2 --session-timeout=1500 $(LEARN) $(ARGS)

check:  ## format, lint, types, layers
	@scripts/setup python
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/lint-imports

bench:  ## speed, both sides of each comparison in one run
	@scripts/setup python sandboxes
	.venv/bin/envkit bench core
	.venv/bin/envkit bench terminal
	.venv/bin/envkit bench grade
