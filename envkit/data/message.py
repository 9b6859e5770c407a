"""What passes between a policy and a world: messages, tool calls, actions, observations.

The shape follows the OpenAI chat-completions API. These objects are made on every turn, so they are
slotted dataclasses; `Episode` (pydantic) is what meets a file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from envkit.data.strict import scrub

_ENCODE = json.JSONEncoder().encode  # made once: this is on the path of every turn

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Image:
    """An image inside a message, such as a screenshot."""

    data: bytes
    media_type: str = "image/png"

    def url(self) -> str:
        """The `data:` URL that chat-completions servers accept."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"


Content: TypeAlias = "str | tuple[str | Image, ...]"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call. `arguments` is a string where the model's arguments were no JSON object."""

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict[str, Any])
    id: str = ""

    def as_chat(self) -> dict[str, Any]:
        """The call as chat-completions APIs and the record write it; a broken argument string stays as it was."""
        arguments = self.arguments
        if not isinstance(arguments, str):
            arguments = _ENCODE(scrub(arguments))
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": arguments},
        }


@dataclass(frozen=True, slots=True)
class Action:
    """What a policy answers with: text, tool calls, or both. No call: the turn goes to the world."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    thinking: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation; `call_id` ties a tool's result to its call."""

    role: Role
    content: Content
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""

    def text(self) -> str:
        """The textual part alone."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part for part in self.content if isinstance(part, str))

    def as_chat(self) -> dict[str, Any]:
        """The message as chat-completions APIs and the record write it."""
        chat: dict[str, Any] = {"role": self.role, "content": _chat_content(self.content)}
        if self.calls:
            chat["tool_calls"] = [asked.as_chat() for asked in self.calls]
        if self.call_id:
            chat["tool_call_id"] = self.call_id
        return chat


def _chat_content(content: Content) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    return [
        {"type": "text", "text": part}
        if isinstance(part, str)
        else {"type": "image_url", "image_url": {"url": part.url()}}
        for part in content
    ]


@dataclass(frozen=True, slots=True)
class Observation:
    """What the world shows after an action. `fresh` begins a new context: earlier messages are gone."""

    messages: tuple[Message, ...] = ()
    fresh: bool = False

    def text(self) -> str:
        """All textual content, one message after another; what a script usually wants."""
        return "\n".join(message.text() for message in self.messages)


Script: TypeAlias = "Generator[Action, Observation, Any]"
"""An oracle or a near-miss: yields actions, receives observations, may return the final answer (text).

The return type is Any because type checkers would otherwise ask every script for a `return`.
"""


def call(tool: str, /, **arguments: Any) -> Action:
    """An action that makes one tool call.

    In a script: `yield call("shell_run", command="ls")`.
    """
    return Action(calls=(ToolCall(tool, arguments),))


def say(text: str) -> Action:
    """An action without a tool call: the final answer, or speech where the world listens."""
    return Action(text=text)
