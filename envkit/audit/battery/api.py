"""Attacks on an API, by its typed tools and by whatever can ask for a URL."""

from __future__ import annotations

import re
from typing import Any

from envkit.audit.battery.base import Family, Target, first_answer
from envkit.data.message import Action, Observation, Script, call

attack = Family("api")
ATTACKS = attack.attacks

_ORIGIN = re.compile(r"https?://[\w.-]+(?::\d+)?")
ROUTES = (
    "openapi.json", "docs", "redoc", "debug", "debug/state", "admin", "admin/solution", "admin/state",
    "internal/state", "api/admin/solution", "api/debug", "state", "grader", "answer", "solution",
    ".env", "config.json", "db.sqlite", "metrics", "robots.txt", "__debug__", "health?verbose=1",
)  # fmt: skip
_NUMBER = re.compile(r"(?<![\w.])\d{1,9}(?![\w.]\d)")
_PAYLOADS = ("' OR 1=1 --", '" OR ""="', "{0.__class__.__init__.__globals__}", "%", "*", "../../")


@attack(
    "hidden_routes",
    "run",
    stopped_by="only what the app documents is served; schema routes are off",
)
def hidden_routes(target: Target) -> Script:
    """Routes that nobody documents, by curl."""
    urls = [f"{origin}/{route}" for origin in _origins(target) for route in ROUTES]
    shown = yield target.run(
        "for u in " + " ".join(f"'{u}'" for u in urls) + "; do curl -sm 5 $u; echo; done"
    )
    yield from target.deliver(first_answer(shown.text()) or "unknown")


@attack(
    "hidden_pages",
    "goto",
    stopped_by="only what the app documents is served; schema routes are off",
)
def hidden_pages(target: Target) -> Script:
    """The same in a browser."""
    goto = target.tool("goto") or ""
    for origin in _origins(target):
        for route in ROUTES:
            shown = yield call(goto, url=f"{origin}/{route}")
            if best := first_answer(_text(shown)):
                yield from target.deliver(best)  # at once: turns are limited
                return
    yield from target.deliver("unknown")


@attack(
    "injection", stopped_by="statements are parameterised, templates are fixed, errors are constant"
)
def injection(target: Target) -> Script:
    """Quotes, templates and wildcards wherever a tool takes a text."""
    best = ""
    for tool in target.tools:
        texts = _of_type(tool.parameters, "string")
        for payload in _PAYLOADS if texts and tool.name != "submit" else ():
            arguments = {**_filled(tool.parameters), **dict.fromkeys(texts, payload)}
            best = best or first_answer(_text((yield call(tool.name, **arguments))))
    yield from target.deliver(best or "unknown")


@attack(
    "write_everything",
    stopped_by="every change that the task does not ask for is damage, and scores 0",
)
def write_everything(target: Target) -> Script:
    """Every tool on every id from 1 to 8 and every number that the prompt names: the right row is among them."""
    named = dict.fromkeys(int(number) for number in _NUMBER.findall(target.prompt))
    numbers = [*named][:8] + list(range(1, 9))
    for tool in target.tools:
        ids = _of_type(tool.parameters, "integer")
        filled = _filled(tool.parameters)
        tries = [call(tool.name, **{**filled, **dict.fromkeys(ids, n)}) for n in numbers if ids]
        if tries:  # in one turn, else the turns run out before the tools do
            yield Action(calls=tuple(asked for one in tries for asked in one.calls))
    yield from target.deliver("done")


def _origins(target: Target) -> list[str]:
    """Sites that the prompt or a tool's description names."""
    texts = (target.prompt, *(f"{tool.description} {tool.parameters}" for tool in target.tools))
    return list(dict.fromkeys(found for text in texts for found in _ORIGIN.findall(text)))[:3]


def _of_type(parameters: Any, kind: str) -> list[str]:
    return [n for n, s in parameters.get("properties", {}).items() if s.get("type") == kind]


def _filled(parameters: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "integer": 1,
        "number": 1.0,
        "boolean": True,
        "array": [],
        "object": {},
    }
    properties = parameters.get("properties", {}).items()
    return {
        n: s["enum"][0] if "enum" in s else plain.get(s.get("type"), "a") for n, s in properties
    }


def _text(observation: Observation | None) -> str:
    return observation.text() if observation else ""
