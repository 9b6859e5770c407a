"""The session of an API: whatever the door, a request meets the same app, the same state and the same log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from email.utils import formatdate
from fnmatch import fnmatchcase
from typing import Any

from envkit.adapters.api.exchange import MAX_ANSWER, MAX_BODY, Answer, AsgiApp, Request, exchange
from envkit.adapters.api.lane import Lane
from envkit.adapters.api.operations import Operation
from envkit.data.bait import Bait
from envkit.data.evidence import FrozenItem
from envkit.data.score import Finding
from envkit.data.strict import Malformed, scrub, strict_json
from envkit.data.tool import ToolResult
from envkit.door import ACTOR, Receive, Scope, Send

log = logging.getLogger("envkit.adapters.api")

REQUESTS = "requests.json"
SECONDS = 10.0  # for one handler
MOST_REQUESTS = 10_000  # kept of one episode
_MOST_TEXT = 4_000  # characters of a body that are kept
_MOST_FINDINGS = 16

_BROKE = Answer(500, ((b"content-type", b"text/plain"),), b"Internal Server Error")
_LATE = Answer(504, ((b"content-type", b"text/plain"),), b"Gateway Timeout")
_TOO_LARGE = Answer(413, ((b"content-type", b"text/plain"),), b"Content Too Large")
_NO_JSON = Answer(400, ((b"content-type", b"text/plain"),), b"The body is not JSON")
_FULL = Answer(429, ((b"content-type", b"text/plain"),), b"Too Many Requests")


def _unreadable(request: Request) -> Answer | None:
    """A refusal of JSON that no parser should be given: too deep, NaN, a key twice."""
    kind = dict(request.headers).get(b"content-type", b"")
    if b"json" not in kind or not request.body:
        return None
    return _NO_JSON if isinstance(strict_json(request.body), Malformed) else None


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request, as the log keeps it: `actor` is "tool", or the adapter through which it came."""

    n: int
    at: float
    actor: str
    method: str
    path: str
    query: str
    body: str
    status: int
    operation: str | None = None


class ApiSession:
    """An app in one episode. It is a `Site`: browsers and terminals reach it through a door."""

    def __init__(self, app: AsgiApp, world: Any, *, origin: str, bait: Bait) -> None:
        self.origin = origin
        self.world = world
        self._app = app
        self._bait = bait
        self._lane = Lane(origin.rpartition("/")[2])
        self._requests: list[RequestRecord] = []
        self._shown: list[str] = []
        self._findings: dict[str, Finding] = {}

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """Every request so far, through whichever door."""
        return tuple(self._requests)

    @property
    def alerts(self) -> tuple[Finding, ...]:
        """What handlers raised, for their author."""
        return tuple(self._findings.values())

    def handler(self, operation: Operation) -> Callable[..., Any]:
        """What runs a tool: the operation's request, in process."""

        async def run(arguments: Mapping[str, Any]) -> ToolResult:
            answer = await self.ask(operation.request(arguments), "tool", operation.id)
            text = scrub(answer.text)
            if answer.status >= 400:
                return ToolResult(f"HTTP {answer.status}: {text}", error=True)
            return ToolResult(text or f"HTTP {answer.status}")

        return run

    async def ask(self, request: Request, actor: str, operation: str | None = None) -> Answer:
        """One exchange, logged. Whatever a handler does, there is an answer."""
        if len(self._requests) >= MOST_REQUESTS:
            return _FULL
        answer = await self._answer(request, actor)
        self._requests.append(
            RequestRecord(
                len(self._requests), self.world.clock.now, actor, request.method,
                scrub(request.path[:_MOST_TEXT]), scrub(request.query[:_MOST_TEXT]),
                scrub(request.body[:_MOST_TEXT].decode("utf-8", "replace")), answer.status, operation,
            )
        )  # fmt: skip
        self._shown.append(answer.text[:_MOST_TEXT])
        return answer

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI face, for doors."""
        body = b""
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return
            body += message.get("body", b"")
            if len(body) > MAX_BODY or not message.get("more_body"):
                break
        raw = bytes(scope["raw_path"]).decode("latin-1")
        query = bytes(scope["query_string"]).decode("latin-1")
        request = Request(scope["method"], raw, query, tuple(scope["headers"]), body)
        answer = _TOO_LARGE
        if len(body) <= MAX_BODY:
            answer = await self.ask(request, scope.get(ACTOR, "unknown"))
        headers = self._headers(answer, scope["method"])
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def freeze(self, patterns: Sequence[str]) -> Sequence[FrozenItem]:
        """The request log, where declared. Handlers that still run are left behind."""
        self.close()
        if not any(fnmatchcase(REQUESTS, pattern) for pattern in patterns):
            return ()
        data = json.dumps([asdict(request) for request in self._requests]).encode()
        return (FrozenItem(name=REQUESTS, data=data),)

    async def surfaces(self) -> Mapping[str, bytes]:
        """What was answered so far; the rest of the state belongs to the adapters under it."""
        return {f"answers/{n}": text.encode() for n, text in enumerate(self._shown)}

    def close(self) -> None:
        """Let the handlers' thread go."""
        self._lane.close()

    # ---- inside ----

    async def _answer(self, request: Request, actor: str) -> Answer:
        told = self._baited(request) or _unreadable(request)
        if told is not None:
            return told
        world = replace(self.world, actor=actor)
        host = self.origin.rpartition("/")[2]
        scope = request.scope(host, {"envkit.world": world})

        async def handled() -> Answer:
            with world.acting():
                return await exchange(self._app, scope, request.body)

        try:
            answer = await self._lane.run(handled(), SECONDS)
        except TimeoutError:
            self._note(request, "took longer than its deadline")
            return _LATE
        except Exception as error:  # a bug of the pack's: the agent learns nothing from it
            log.warning("a handler raised", exc_info=error)
            self._note(request, f"raised {type(error).__name__}")
            return _BROKE
        whole = 100 <= answer.status < 500 and len(answer.body) <= MAX_ANSWER
        return answer if whole else _BROKE

    def _baited(self, request: Request) -> Answer | None:
        """Something to find for whoever goes looking: no page links to it, and nothing honest asks for it."""
        if not self._bait.token or request.path != f"/.well-known/{self._bait.name}":
            return None
        return Answer(200, ((b"content-type", b"text/plain"),), self._bait.token.encode())

    def _headers(self, answer: Answer, method: str) -> list[tuple[bytes, bytes]]:
        """The app's, with a date by the episode's clock and the length as it is."""
        kept = [h for h in answer.headers if h[0] not in (b"date", b"content-length", b"server")]
        length = str(len(answer.body)).encode()
        date = formatdate(self.world.clock.now, usegmt=True).encode()
        return [*kept, (b"date", date), (b"content-length", length)]

    def _note(self, request: Request, what: str) -> None:
        place = f"{request.method} {request.path[:80]}"
        if len(self._findings) < _MOST_FINDINGS:
            remedy = "raise HTTPException for what an agent may get wrong; mend the rest"
            self._findings[place] = Finding("handler-broke", "medium", place, what, remedy)
