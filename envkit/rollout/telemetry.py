"""What an operator sees: log records that carry the episode, and spans around its stages.

Logging is under the name `envkit`; add `EpisodeFilter` to a handler and use `%(episode)s`. Spans go to OpenTelemetry
where its API is installed (`pip install 'envkit[otel]'`) and cost one `if` where it is not.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

EPISODE: ContextVar[str] = ContextVar("envkit_episode", default="-")
"""The episode that the current task plays, as it is named in the record."""


class EpisodeFilter(logging.Filter):
    """Adds `episode` to every record that passes a handler."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything through, with the episode on it."""
        record.episode = EPISODE.get()
        return True


@functools.cache
def _tracer() -> Any | None:
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    return trace.get_tracer("envkit")


@contextlib.contextmanager
def span(name: str, **attributes: str | int | float) -> Iterator[None]:
    """A stage of an episode: `envkit.episode`, and in it `envkit.open` and `envkit.turns`."""
    tracer = _tracer()
    if tracer is None:
        yield
        return
    with tracer.start_as_current_span(f"envkit.{name}", attributes=attributes):
        yield
