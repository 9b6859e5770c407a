"""Messages as chat templates take them, and the guard that keeps what they say from being control tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from envkit.data.message import Action, Message, ToolCall
from envkit.data.strict import scrub

Chat = dict[str, Any]

NOTHING_NEW = "[nothing new]"
MARK = "\ue000"  # private use: stands for a control token's text while the template runs
_MARKUP = re.compile(
    r"[<\[].*[>\]]"
)  # an added token of this shape controls, though it be not `special`


def as_chat(action: Action) -> Chat:
    """A turn as templates want it: arguments as a mapping where they are one."""
    chat: Chat = {"role": "assistant", "content": scrub(action.text)}
    if action.thinking:
        chat["reasoning_content"] = scrub(action.thinking)
    if action.calls:
        chat["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": scrub(call.name), "arguments": scrub(call.arguments)},
            }
            for call in action.calls
        ]
    return chat


def stand_in(action: Action) -> Chat:
    """A turn that calls the same tools and says little: some templates name the call in its result."""
    calls = tuple(ToolCall(call.name, {}, call.id) for call in action.calls)
    return as_chat(Action("" if calls else "ok", calls))


def heard(messages: Sequence[Message], waiting: Sequence[str], *, first: bool) -> list[Chat]:
    """What an observation adds. A result whose call is not in this context is told by the user."""
    chats: list[Chat] = []
    for message in messages:
        chat: Chat = {"role": message.role, "content": scrub(_text(message))}
        if message.role == "tool" and message.call_id in waiting:
            chat["tool_call_id"] = message.call_id
        elif message.role == "tool" or (message.role == "system" and not (first and not chats)):
            chat["role"] = "user"
        chats.append(chat)
    return chats or [{"role": "user", "content": NOTHING_NEW}]


def _text(message: Message) -> str:
    """The model reads text alone; an image is said to be missing."""
    if isinstance(message.content, str):
        return message.content
    return "".join(part if isinstance(part, str) else "[image]" for part in message.content)


class Guard:
    """Keeps what the world says from being read as control tokens: a file may well hold `<|im_end|>`."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.values()
        marks = {
            token.content for token in added if token.special or _MARKUP.fullmatch(token.content)
        }
        ordered = sorted({*marks, MARK}, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(mark) for mark in ordered if mark))

    def hide(self, value: Any, held: list[str]) -> Any:
        """The same with control texts replaced by marks; `held` gets the texts."""
        if isinstance(value, str):
            return self._pattern.sub(lambda match: _hold(match[0], held), value)
        if isinstance(value, dict):
            return {self.hide(key, held): self.hide(item, held) for key, item in value.items()}
        return (
            [self.hide(item, held) for item in value] if isinstance(value, list | tuple) else value
        )

    def plainly(self, text: str) -> list[int]:
        """The text in ordinary tokens: one character apart, no control token is found in it."""
        pieces = (text[:1], text[1:])
        encoded = (
            self._tokenizer(piece, add_special_tokens=False)["input_ids"]
            for piece in pieces
            if piece
        )
        return [token for ids in encoded for token in ids]


def _hold(text: str, held: list[str]) -> str:
    held.append(text)
    return f"{MARK}{len(held) - 1}{MARK}"
