"""The log of an API's requests, and what was answered: the judge's evidence and the guards' surface."""

from __future__ import annotations

import json
from typing import NamedTuple

from envkit.adapters.api.exchange import Answer, Request
from envkit.data.strict import scrub

MOST_REQUESTS = 10_000  # of one episode
MOST_LINE = 16_000  # characters of a path or a query; longer ones are refused, so that what is kept is whole
MOST_TEXT = 4_000  # characters of each body that are kept
# characters of all of them together: what one agent pours in must not push out other evidence
ROOM = 2 << 20
MOST_SHOWN = 4 << 20  # bytes of distinct answers that are kept for the guards


class RequestRecord(NamedTuple):
    """One request, as the log keeps it: `actor` is "tool", or the adapter through which it came."""

    n: int
    at: float  # by the episode's clock
    actor: str
    method: str
    path: str  # as it was sent: percent-encoded
    query: str
    body: str  # at most MOST_TEXT characters
    status: int
    operation: str | None = None  # the operation_id of the route that answered


class RequestLog:
    """Appended to by every door, in the order in which answers were ready."""

    def __init__(self) -> None:
        self._records: list[RequestRecord] = []
        self._room = ROOM
        self._shown: dict[bytes, None] = {}
        self._shown_room = MOST_SHOWN

    @property
    def records(self) -> tuple[RequestRecord, ...]:
        """All so far."""
        return tuple(self._records)

    @property
    def full(self) -> bool:
        """Whether no more are kept."""
        return len(self._records) >= MOST_REQUESTS

    def add(
        self, request: Request, answer: Answer, *, at: float, actor: str, operation: str | None
    ) -> None:
        """Keep a request with its answer."""
        path, query = self._kept(request.path[:MOST_LINE]), self._kept(request.query[:MOST_LINE])
        body = request.body[: MOST_TEXT * 4].decode("utf-8", "replace") if request.body else ""
        method = scrub(request.method[:20])
        record = RequestRecord(
            len(self._records),
            at,
            actor,
            method,
            path,
            query,
            self._kept(body[:MOST_TEXT]),
            answer.status,
            operation,
        )
        self._records.append(record)
        self._show(answer)

    def document(self) -> bytes:
        """The log as JSON: a list of objects."""
        return json.dumps([record._asdict() for record in self._records]).encode()

    def shown(self) -> dict[str, bytes]:
        """Distinct answers, headers and all."""
        return {f"answers/{n}": seen for n, seen in enumerate(self._shown)}

    def _kept(self, text: str) -> str:
        if not text:
            return text
        kept: str = scrub(text)
        self._room -= len(kept)
        return kept if self._room >= 0 else ""

    def _show(self, answer: Answer) -> None:
        head = b"".join(name + b": " + value + b"\n" for name, value in answer.headers)
        seen = head + b"\n" + answer.body
        if seen not in self._shown and len(seen) <= self._shown_room:
            self._shown[seen] = None
            self._shown_room -= len(seen)
