"""Text in and out: an observation as one text, a text as an action."""

from __future__ import annotations

import json
from collections.abc import Iterable

from envkit.data.message import Action, Message, ToolCall
from envkit.data.strict import scrub, strict_json
from envkit.toolbox import clip

ASCII = frozenset("\t\n" + "".join(map(chr, range(32, 127))))
# What Latin scripts need, with the usual punctuation; a space of all of Unicode would hold a million strings.
CHARSET = ASCII | frozenset(
    "".join(map(chr, range(160, 384)))
    + "\u2010\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2022\u2026\u2039\u203a\u20ac\u2192\u2212"
)
_NOTE = 80  # more characters than the note takes that says what was left out


def as_text(messages: Iterable[Message], charset: frozenset[str], limit: int) -> str:
    """Messages as one text, in a charset and of at most `limit` characters.

    A character outside the charset is written as JSON escapes it; what is over the limit is left out of the middle.
    """
    text = "\n\n".join(scrub(message.text()) for message in messages)
    if not charset.issuperset(text):
        text = "".join(c if c in charset else json.dumps(c)[1:-1] for c in text)
    return clip(text, limit - _NOTE) if len(text) > limit else text


def as_action(text: str, call_id: str) -> Action:
    """A text as an action: a JSON object `{"tool": NAME, "arguments": {...}}` is a call, all else is speech.

    `arguments` may be left out. Arguments that are no object still make a call, which the tool then refuses.
    """
    value = strict_json(text)
    if not isinstance(value, dict) or not {"tool"} <= value.keys() <= {"tool", "arguments"}:
        return Action(text)
    name, arguments = value["tool"], value.get("arguments", {})
    if not isinstance(name, str):
        return Action(text)
    if not isinstance(arguments, dict):
        return Action(calls=(ToolCall(name, json.dumps(arguments), call_id),))
    return Action(calls=(ToolCall(name, arguments, call_id),))
