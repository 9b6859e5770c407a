# Every target does all of its own set-up (scripts/setup); the second time it costs nothing.
.PHONY: demo test check bench

demo:  ## the main job: the desk pack by oracle, no-op and near-misses, in real sandboxes
	@scripts/setup python sandboxes
	@.venv/bin/python scripts/demo

test:  ## the test suite; ARGS="-k judge -x" narrows it
	@scripts/setup python sandboxes
	@.venv/bin/python -m pytest --session-timeout=840 $(ARGS)

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
