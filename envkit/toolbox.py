"""A toolbox: the tools of one episode by name, and the one place where a call becomes a result.

Whatever an agent sends comes back as an observation. What a tool's author got wrong is logged and shown to the
agent as one constant sentence, so that no traceback (paths, values, sources) ever reaches it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from envkit.data.message import ToolCall
from envkit.data.score import Finding
from envkit.data.tool import BadArguments, Tool, ToolResult, is_tool, tool_of
from envkit.errors import DeclarationError, WorldError
from envkit.lane import Lane

log = logging.getLogger("envkit.tools")

GRACE = 2.0  # seconds that a cancelled tool may take to end
TOO_LATE = ToolResult("Not carried out: your turn was over.", error=True)
MOST_FINDINGS = 16  # of one episode; the log has them all

Handler = Callable[..., "Awaitable[object] | object"]


class ToolRefusal(Exception):
    """Raise it in a tool to refuse a call; the text is the agent's observation."""


def tools_in(owner: type, prefix: str = "") -> dict[str, Tool]:
    """The tools that a class declares with `@tool`, by the method's name, in the order of declaration."""
    methods: dict[str, Callable[..., Any]] = {}
    for base in reversed(owner.__mro__):
        methods.update({name: value for name, value in vars(base).items() if is_tool(value)})
    return {name: tool_of(method, prefix + name) for name, method in methods.items()}


class Toolbox:
    """Tools by name, each with its handler. What may block runs on a lane: a thread of this episode's own."""

    def __init__(self) -> None:
        self._tools: dict[str, tuple[Tool, Handler, bool]] = {}  # and whether on the shared loop
        self._lane = Lane("tools")
        self.findings: list[Finding] = []  # what tools raised: their authors' to mend

    def add(self, tool: Tool, handler: Handler) -> None:
        """Offer a tool. Raises DeclarationError where the name is taken."""
        if tool.name in self._tools:
            raise DeclarationError(f"two tools are called {tool.name!r}; rename one or its adapter")
        inline = tool.inline or inspect.iscoroutinefunction(handler)
        self._tools[tool.name] = (tool, handler, inline)

    @property
    def tools(self) -> tuple[Tool, ...]:
        """All tools, in the order in which they were added."""
        return tuple(tool for tool, _, _ in self._tools.values())

    async def call(self, asked: ToolCall, limit: int) -> ToolResult:
        """Run one call. Raises WorldError alone: the world is gone, which is no observation."""
        entry = self._tools.get(asked.name)
        if entry is None:
            names = ", ".join(sorted(self._tools))
            unknown = f"There is no tool {asked.name[:80]!r}. Tools: {names}"
            return ToolResult(clip(unknown, limit), error=True)
        tool, handler, inline = entry
        try:
            arguments = tool.check(asked.arguments)
            result = handler(**arguments) if inline else await self._on_lane(handler, arguments)
            if isinstance(result, Awaitable):
                result = await _finished(result)
            return _result(result, limit)
        except (BadArguments, ToolRefusal) as refusal:
            return ToolResult(clip(str(refusal), limit), error=True)
        except WorldError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a bug must neither fell a run nor tell anything
            self._note(tool.name, error)
            return ToolResult("The tool failed.", error=True)

    async def settle(self) -> None:
        """End what still blocks, or leave it behind: a later call has a thread of its own again."""
        lane, self._lane = self._lane, Lane("tools")
        await lane.aclose()

    async def _on_lane(self, handler: Handler, arguments: dict[str, Any]) -> object:
        """What a handler gives back that may block; nobody else's episode waits for it."""

        async def work() -> tuple[object, BaseException | None]:
            try:
                return handler(**arguments), None
            except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again where calls are judged
                return None, error

        result, error = await self._lane.run(work)
        if error is not None:
            raise error
        return result

    def _note(self, name: str, error: BaseException) -> None:
        log.warning("tool %s raised", name, exc_info=error)
        if len(self.findings) < MOST_FINDINGS:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            seen = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"
            remedy = "raise ToolRefusal for what an agent may get wrong; mend the rest"
            self.findings.append(Finding("tool-raised", "medium", name, seen, remedy))


async def _finished(work: Awaitable[object]) -> object:
    """What an async tool comes to, in a task of its own.

    A tool that raises CancelledError by itself has failed; one that swallows the cancellation of its episode is left
    behind after `GRACE` seconds, for the episode must end.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task}, timeout=GRACE)
        if task.done() and not task.cancelled():
            task.exception()  # it was asked for nothing any more; asyncio would complain that nobody looked
        raise
    if task.cancelled():
        raise RuntimeError("the tool cancelled itself")
    return task.result()


def _result(value: object, limit: int) -> ToolResult:
    if isinstance(value, ToolResult):
        return ToolResult(clip(value.text, limit), value.error, value.images)
    if isinstance(value, str):
        return ToolResult(clip(value, limit))
    return ToolResult(clip(json.dumps(value, ensure_ascii=False, default=str), limit))


def clip(text: str, limit: int) -> str:
    """Head and tail of a text over `limit` characters, saying how many were left out between them."""
    if len(text) <= limit:
        return text
    head, tail = limit - limit // 3, limit // 3
    note = f"[... {len(text) - head - tail} characters left out ...]"
    return f"{text[:head]}\n{note}\n{text[len(text) - tail :]}"
