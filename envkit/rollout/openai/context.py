"""What the model sees: observations and its own turns as chat-completions messages, well-formed.

Servers refuse a conversation in which a call has no result, a result no call, or something stands
between them; so results come first, in the order of the calls, and everything else follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envkit.data.message import Image, Message, Observation
from envkit.data.strict import scrub
from envkit.rollout.openai.answer import Answer

NO_RESULT = "[no result]"
NOTHING_NEW = "[nothing new]"

Entry = dict[str, Any]


class Context:
    """The conversation of one episode.

    It changes only when a turn is complete, so that one that was cancelled leaves no trace.
    """

    def __init__(self) -> None:
        self._messages: list[Entry] = []
        self.spoken = False  # it holds a turn of the model
        self.strange = False  # it holds a call that a server may choke on

    def seen(self, observation: Observation) -> list[Entry]:
        """The messages after an observation; they become the context by `take`."""
        before = [] if observation.fresh else self._messages
        messages = [*before, *_Arrival(_waiting(before)).entries(observation.messages)]
        if not messages or messages[-1]["role"] == "assistant":
            # Some servers refuse to answer their own model, others continue its turn.
            messages.append({"role": "user", "content": NOTHING_NEW})
        return messages

    def take(self, observation: Observation, seen: list[Entry], answer: Answer) -> None:
        """Complete a turn."""
        self._messages = [*seen, dict(answer.echo)]
        self.strange = answer.strange or (self.strange and not observation.fresh)
        self.spoken = True


def _waiting(messages: list[Entry]) -> list[str]:
    """The ids of the calls that the last message makes."""
    return [call["id"] for call in messages[-1].get("tool_calls", ())] if messages else []


class _Arrival:
    """New messages, put in order behind a turn that waits for the results of its calls."""

    def __init__(self, waiting: list[str]) -> None:
        self._waiting = waiting
        self._results: dict[str, str] = {}
        self._rest: list[Entry] = []
        self._entries: list[Entry] = []

    def entries(self, messages: Iterable[Message]) -> list[Entry]:
        for message in messages:
            self._add(message)
        self._flush()
        return self._entries

    def _add(self, message: Message) -> None:
        text, images = scrub(message.text()), _images(message)
        if message.role == "assistant":
            self._flush()
            self._entries.append(_spoken(message, text))
            self._waiting = _waiting(self._entries)
        elif message.role == "tool" and self._is_due(message.call_id):
            self._results[message.call_id] = text
        elif message.role == "user" and images:
            self._rest.append({"role": "user", "content": scrub(message.as_chat()["content"])})
        else:  # a result whose call is not in this context (any more) still says something
            role = "system" if message.role == "system" else "user"
            self._rest.append({"role": role, "content": text})
        if images and message.role != "user":  # most servers take text alone in any other role
            whose = f"tool call {message.call_id}" if message.role == "tool" else message.role
            title = {"type": "text", "text": scrub(f"Images of {whose}:")}
            self._rest.append({"role": "user", "content": [title, *images]})

    def _is_due(self, call_id: str) -> bool:
        return call_id in self._waiting and call_id not in self._results

    def _flush(self) -> None:
        for call_id in self._waiting:
            text = self._results.get(call_id, NO_RESULT)
            self._entries.append({"role": "tool", "tool_call_id": call_id, "content": text})
        self._entries += self._rest
        self._waiting, self._results, self._rest = [], {}, []


def _spoken(message: Message, text: str) -> Entry:
    if not message.calls:
        return {"role": "assistant", "content": text}
    calls = scrub([asked.as_chat() for asked in message.calls])
    return {"role": "assistant", "content": text or None, "tool_calls": calls}


def _images(message: Message) -> list[Entry]:
    """The images of a message as the parts that chat-completions APIs know."""
    if isinstance(message.content, str):
        return []
    images = tuple(part for part in message.content if isinstance(part, Image))
    parts: list[Entry] = Message("user", images).as_chat()["content"]
    return parts
