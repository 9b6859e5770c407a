"""Four properties of a chat template, proved on a small conversation before the first token is sampled.

- generation prompt: a turn begins with what asks for it
- prefix preservation: a conversation that grows keeps its beginning, so appending is rendering
- round trip: a turn that is written and read is the same
- masked think: a `<think>` that the template opens stands in the prompt, and is not the model's
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envkit.data.message import Action, ToolCall
from envkit.data.tool import tool_of
from envkit.errors import UsageError
from envkit.rollout.openai.answer import CallIds
from envkit.train.chat import Chat, as_chat
from envkit.train.parse import OPEN

if TYPE_CHECKING:
    from envkit.train.render import Renderer

_ID = "call0000{}".format
_USER: Chat = {"role": "user", "content": "hello"}


def _look(key: str) -> str:
    """Look up a key."""
    return key


_TOOLS = (tool_of(_look, "look"),)


def prove(renderer: Renderer) -> str:
    """Why contexts must be rendered anew; empty where appending is the same.

    Raises UsageError for a template that can't be used at all.
    """
    if lost := _asks_alike(renderer):
        return lost  # there is no telling what the turn's own part is
    _reads_what_it_writes(renderer)
    return _grows(renderer)


def _asks_alike(renderer: Renderer) -> str:
    talk = _talk(renderer)
    told = [_USER]
    for action, answer in talk:
        before, _ = renderer.written(told, _TOOLS, begin=True)
        after, _ = renderer.written([*told, as_chat(action)], _TOOLS)
        if not after.startswith(before):
            return _broken(
                "generation prompt",
                f"a turn after {_roles(told)} begins otherwise than it is asked for",
            )
        told += [as_chat(action), answer]
    return ""


def _grows(renderer: Renderer) -> str:
    told = [_USER]
    ids = renderer.prompt(told, _TOOLS)
    for action, answer in _talk(renderer):
        ids += renderer.spoken(action, _TOOLS) + renderer.suffix(action, [answer], _TOOLS)
        told += [as_chat(action), answer]
        if renderer.text(ids) != renderer.text(renderer.prompt(told, _TOOLS)):
            return _broken("prefix preservation", f"at {_roles(told)} it rewrites what came before")
    return ""


def _reads_what_it_writes(renderer: Renderer) -> None:
    inside = renderer.inside(renderer.prompt([_USER], _TOOLS))
    calls = (ToolCall("look", {"key": "A"}), ToolCall("look", {"key": 'b"', "n": [1, None]}))
    for text, made in (("Two at once.", calls), ("The answer is 7.", ()), ("", calls[:1])):
        action = Action(text, made, "I look." if renderer.thinks else "")
        ids = renderer.spoken(action, _TOOLS)
        if inside and renderer.text(ids).lstrip().startswith(OPEN):
            raise UsageError(
                _broken("masked think", f"{OPEN} stands in the prompt and again in the turn")
            )
        read = renderer.read(ids, CallIds(), inside=inside).action
        if _said(read) != _said(action):
            raise UsageError(
                _broken("round trip", f"{_said(action)} was written, and {_said(read)} read")
            )


def _talk(renderer: Renderer) -> list[tuple[Action, Chat]]:
    """Turns and what they are answered: a call, another one, words."""
    thought = "I look." if renderer.thinks else ""
    results: list[Chat] = [
        {"role": "tool", "content": f"is {at}", "tool_call_id": _ID(at)} for at in (0, 1)
    ]
    return [
        (Action("", (ToolCall("look", {"key": "A"}, _ID(0)),), thought), results[0]),
        (Action("Next.", (ToolCall("look", {"key": "B"}, _ID(1)),)), results[1]),
        (Action("It is 1.", (), thought), {"role": "user", "content": "and now?"}),
    ]


def _said(action: Action) -> tuple[str, str, tuple[tuple[str, Any], ...]]:
    return action.text, action.thinking, tuple((call.name, call.arguments) for call in action.calls)


def _roles(messages: list[Chat]) -> str:
    return ", ".join(message["role"] for message in messages)


def _broken(name: str, why: str) -> str:
    return f"the chat template breaks `{name}`: {why}"
