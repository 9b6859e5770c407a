"""A chat-completions server on loopback that replays a script and keeps what it was asked.

    with ChatServer([says(calls=[asks("shell_run", {"command": "ls"})]), says("done")]) as server:
        source = OpenAIChat("openai:m", "m", base_url=server.url)
        ...
    assert server.requests[1]["messages"][-1]["role"] == "tool"

A script is a list of replies, one per request in the order of arrival, or a function of the
request's body, for servers of many episodes at once. `tests/rollout/conftest.py` hands this module
to tests as the fixture `chat`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse


@dataclass(frozen=True)
class Reply:
    """One response, whatever it may be."""

    body: Any = None  # bytes as they are, everything else as JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0  # seconds before it
    broken: bool = False  # the connection closes in the middle of the body
    endless: bool = False  # the body is repeated for ever
    pause: float = 0.0  # seconds between the pieces of an endless body

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Script = Iterable[Reply] | Callable[[dict[str, Any]], Reply]


def asks(name: str, arguments: Any, call_id: str | None = "call-1") -> dict[str, Any]:
    """A tool call. `arguments` that are a string are sent as they are."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call = {"type": "function", "function": {"name": name, "arguments": text}}
    return call if call_id is None else {"id": call_id, **call}


def says(
    text: str | None = None,
    calls: Sequence[Mapping[str, Any]] = (),
    *,
    usage: tuple[int, int] | None = (100, 10),
    finish: str | None = None,
    **more: Any,
) -> Reply:
    """A completion; `more` are further fields of the message."""
    message: dict[str, Any] = {"role": "assistant", "content": text, **more}
    if calls:
        message["tool_calls"] = list(calls)
    finish = finish or ("tool_calls" if calls else "stop")
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": finish, "message": message}],
    }
    if usage is not None:
        prompt, completion = usage
        body["usage"] = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
    return Reply(body)


def fails(status: int, message: str = "no", code: str | None = None, **headers: str) -> Reply:
    """An error as OpenAI words it; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply({"error": {"message": message, "type": "e", "code": code}}, status, named)


class ChatServer:
    """A context manager: a real server in a thread of its own, on a free port of loopback."""

    def __init__(self, script: Script) -> None:
        self._next = script if callable(script) else _in_order(script)
        self.requests: list[dict[str, Any]] = []  # bodies, in the order of arrival
        self.headers: list[dict[str, str]] = []
        self.connections: set[tuple[str, int]] = set()  # the clients' ends
        self.arrived = threading.Event()  # the first request
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            self._app(),
            log_level="critical",
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    @property
    def url(self) -> str:
        """What a client takes as base_url."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def __enter__(self) -> ChatServer:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < deadline, "the chat server does not start"
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def complete(request: Request) -> Response:
            body = json.loads(await request.body())
            self.requests.append(body)
            self.headers.append(dict(request.headers))
            assert request.client is not None
            self.connections.add((request.client.host, request.client.port))
            self.arrived.set()
            reply = self._next(body)
            await asyncio.sleep(reply.wait)
            return _response(reply)

        return app


def _in_order(script: Iterable[Reply]) -> Callable[[dict[str, Any]], Reply]:
    replies = iter(script)
    over = fails(400, "the script of this server is over")
    return lambda request: next(replies, over)


def _response(reply: Reply) -> Response:
    content, headers = reply.content(), {"content-type": "application/json", **reply.headers}
    if reply.endless:
        return StreamingResponse(_repeat(content, reply.pause), reply.status, headers)
    if reply.broken:  # a promise of more than comes: uvicorn closes the connection
        headers["content-length"] = str(len(content) + 100)
        return StreamingResponse(iter([content]), reply.status, headers)
    return Response(content, reply.status, headers)


async def _repeat(content: bytes, pause: float) -> AsyncIterator[bytes]:
    while True:
        yield content
        await asyncio.sleep(pause)
