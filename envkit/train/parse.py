"""From the text of a model's turn to an action. Total: every text gives one.

The format is Hermes': `<think>...</think>` before the answer, and each call as a JSON object of `name` and `arguments`
in `<tool_call>...</tool_call>`. A call that can't be read becomes a call with its text as arguments, which the world
refuses: the model is told, and the episode goes on.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from envkit.data.message import Action, ToolCall
from envkit.data.strict import strict_json
from envkit.rollout.openai.answer import MAX_CALLS, CallIds

OPEN, CLOSE = "<think>", "</think>"
_THOUGHT = re.compile(r"<think>(.*?)(?:</think>|\Z)", re.DOTALL)
_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|(?=<tool_call>)|\Z)", re.DOTALL)
_NAME = re.compile(r'"name"\s*:\s*"([^"\\]{1,128})"')


@dataclass(frozen=True, slots=True)
class Parsed:
    """A turn that was read."""

    action: Action
    broken: int  # of its calls: those that could not be read


def read_turn(text: str, ids: CallIds, *, inside: bool = False) -> Parsed:
    """What a turn says.

    Args:
        text: without the token that ends a turn
        ids: what the episode's calls are called
        inside: the prompt opened a thought already
    """
    if inside:
        text = OPEN + text
    thinking = "\n".join(thought.strip() for thought in _THOUGHT.findall(text))
    said = _THOUGHT.sub("", text).replace(CLOSE, "")
    bodies = _CALL.findall(said)
    calls = tuple(_call(body.strip(), ids) for body in bodies[:MAX_CALLS])
    broken = sum(isinstance(call.arguments, str) for call in calls)
    return Parsed(Action(_CALL.sub("", said).strip(), calls, thinking), broken)


def _call(body: str, ids: CallIds) -> ToolCall:
    read = strict_json(body, where="call")
    if isinstance(read, dict) and isinstance(name := read.get("name"), str):
        arguments = read.get("arguments", {})
        if isinstance(arguments, dict):
            return ToolCall(name, arguments, ids.settle(None))
        return ToolCall(name, json.dumps(arguments), ids.settle(None))
    named = _NAME.search(body)
    return ToolCall(named[1] if named else "", body, ids.settle(None))
