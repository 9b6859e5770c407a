"""From the body of a chat completion to an action. Total: every body gives an answer or a refusal.

Nothing of the body is trusted: a model writes half of it, and servers that call themselves
compatible write the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from envkit.data.message import Action, ToolCall
from envkit.data.strict import MAX_DIGITS, scrub, strict_json
from envkit.rollout.openai.refusal import Refused, one_line
from envkit.rollout.policy import PolicyFailed, PolicyStopped

MAX_CHARS = 1 << 20  # of one turn's text and calls together, and of its thinking
MAX_CALLS = 256  # of one turn
_MAX_ID = 128
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Answer:
    """One turn of the model: as an action, and as the message that is echoed back to it."""

    action: Action
    echo: Mapping[str, Any]
    strange: bool  # it holds a call that a server may choke on when it is echoed
    prompt_tokens: int
    completion_tokens: int


class CallIds:
    """The ids of one episode's calls: the model's own where they are usable and new, else ours."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def settle(self, given: object) -> str:
        """The id that a call goes by from now on."""
        given = scrub(given) if isinstance(given, str) else ""
        if not 0 < len(given) <= _MAX_ID or given in self._taken:
            given = self._new()
        self._taken.add(given)
        return given

    def _new(self) -> str:
        # Nine letters and digits: some servers insist.
        numbered = (f"call{number:05d}" for number in count(len(self._taken)))
        return next(made for made in numbered if made not in self._taken)


class _Budget:
    """How many characters of a turn may still be kept."""

    def __init__(self, left: int = MAX_CHARS) -> None:
        self._left = left

    def cut(self, text: str) -> str:
        text = scrub(text)
        kept = text[: self._left]
        self._left -= len(kept)
        lost = len(text) - len(kept)
        return f"{kept}[... {lost} characters left out ...]" if lost else kept


def read_answer(body: bytes, ids: CallIds) -> Answer:
    """What the model said.

    Raises PolicyFailed without a message, Refused for an error, PolicyStopped for nesting that none but a model writes.
    """
    try:
        return _read(_document(body), ids)
    except RecursionError:
        raise PolicyStopped("the endpoint's answer is nested too deep to be read") from None


def _read(document: Mapping[str, Any], ids: CallIds) -> Answer:
    message = _message(document)
    budget = _Budget()
    text, content = _text(message, budget)
    asked = [call for call in _list(message.get("tool_calls")) if isinstance(call, dict)]
    calls, echoes = _calls(asked[:MAX_CALLS], ids, budget)
    if len(asked) > MAX_CALLS:
        text = content = f"{text}[... {len(asked) - MAX_CALLS} tool calls left out ...]"
    usage = _mapping(document.get("usage"))
    return Answer(
        Action(text, calls, _Budget().cut(_thinking(message))),
        {"role": "assistant", "content": content, "tool_calls": echoes}
        if calls
        else {"role": "assistant", "content": text},
        any(map(_is_strange, calls)),
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
    )


def _is_strange(call: ToolCall) -> bool:
    return isinstance(call.arguments, str) or not _PLAIN_NAME.fullmatch(call.name)


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        # Not strict_json: a lone surrogate in one word of a model is no reason to lose its turn.
        # What is used of it is scrubbed there; all of it would hold up the other episodes.
        document = json.loads(body, parse_int=_int)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        shown = one_line(repr(body[:200]))
        raise PolicyFailed(f"the endpoint's answer is no chat completion: {shown}")
    return document


def _int(text: str) -> float:
    """Numbers that Python refuses to read become infinite, and so no JSON, as 1e999 does."""
    return int(text) if len(text) <= MAX_DIGITS else float(text)


def _message(document: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = _list(document.get("choices"))
    message = choices[0].get("message") if choices and isinstance(choices[0], dict) else None
    if isinstance(message, dict):
        return message
    if error := document.get("error"):  # some gateways report errors with status 200
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 502
        raise Refused(status, reason(error))
    raise PolicyFailed("the endpoint's answer holds no message")


def reason(error: object) -> str:
    """What the error object of a response says, its code included."""
    error = scrub(error)
    if not isinstance(error, dict):
        return str(error)
    said = error.get("message") or error.get("detail") or error.get("error") or error
    parts = (error.get("code"), error.get("type"), said)
    return " ".join(str(part) for part in parts if part is not None)


def _text(message: Mapping[str, Any], budget: _Budget) -> tuple[str, str | None]:
    """The text of the turn, and the same as it is echoed: None where there was none."""
    content = message.get("content")
    if isinstance(content, list):  # as parts
        parts = (part.get("text") for part in content if isinstance(part, dict))
        content = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str):
        content = message.get("refusal")
    if not isinstance(content, str):
        return "", None
    text = budget.cut(content)
    return text, text


def _thinking(message: Mapping[str, Any]) -> str:
    fields = (message.get("reasoning_content"), message.get("reasoning"))
    return next((field for field in fields if isinstance(field, str) and field), "")


def _calls(
    asked: list[dict[str, Any]], ids: CallIds, budget: _Budget
) -> tuple[tuple[ToolCall, ...], list[dict[str, Any]]]:
    calls, echoes = [], []
    for call in asked:
        function = _mapping(call.get("function"))
        given = function.get("name")
        name = budget.cut(given) if isinstance(given, str) else ""
        written = budget.cut(_written(function.get("arguments")))
        read = strict_json(written, where="arguments")
        settled = ids.settle(call.get("id"))
        calls.append(ToolCall(name, read if isinstance(read, dict) else written, settled))
        echoes.append(
            {"id": settled, "type": "function", "function": {"name": name, "arguments": written}}
        )
    return tuple(calls), echoes


def _written(arguments: object) -> str:
    """Arguments as text; some servers send an object, or nothing where there are none.

    An object is not scrubbed: what is wrong in it must be found wrong as it is in text.
    """
    if isinstance(arguments, str):
        return arguments if arguments.strip() else "{}"
    return "{}" if arguments is None else json.dumps(arguments, ensure_ascii=False)


def _count(value: object) -> int:
    counts = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53
    return value if counts else 0  # type: ignore[return-value]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
