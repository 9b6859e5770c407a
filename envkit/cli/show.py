"""One task's episodes, readable: the conversation, and why the judge said what it said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envkit.cli.output import console, escaped
from envkit.errors import UsageError
from envkit.rollout.record import Episode, read_episodes, read_sealed

COLOURS = {"user": "cyan", "assistant": "green", "tool": "yellow", "system": "magenta"}


def recorded(folder: Path, task: str) -> list[Episode]:
    """The episodes of one task, by index or id; of each place the last. Raises UsageError."""
    episodes = read_episodes(folder)
    found = {e.place: e for e in episodes if task in (e.task, e.id, str(e.index))}
    if not found:
        known = sorted({episode.index for episode in episodes})
        range_ = f"{known[0]} to {known[-1]}" if known else "none yet"
        raise UsageError(f"--task {task}: not in {folder}; its tasks are {range_}")
    return list(found.values())


def reasons(note: Mapping[str, Any]) -> list[str]:
    """The judge's reasons in a sealed note, one line each."""
    if "score" not in note:
        return [f"invalid: {note.get('invalid')}: {note.get('detail')}"]
    score = note["score"]
    checks = (
        f"{name}: {value:g}" + (f" ({reason})" if reason else "")
        for name, (value, reason) in score["checks"].items()
    )
    return [*checks, *score["reasons"]]


def shown_as_json(folder: Path, episodes: list[Episode]) -> list[dict[str, Any]]:
    """The same for machines."""
    sealed = read_sealed(folder)
    return [
        {
            "id": episode.id,
            "task": episode.task,
            "messages": list(episode.messages),
            "ending": episode.ending,
            "reward": episode.reward,
            "invalid": episode.invalid,
            "reasons": reasons(sealed[episode.id]) if episode.id in sealed else [],
        }
        for episode in episodes
    ]


def show_episodes(folder: Path, episodes: list[Episode]) -> None:
    """Print them."""
    sealed = read_sealed(folder)
    for episode in episodes:
        _headline(f"{episode.id} · task {episode.task} · {episode.spec}")
        for message in episode.messages:
            _message(message)
        _headline(_verdict(episode))
        for reason in reasons(sealed[episode.id]) if episode.id in sealed else [episode.detail]:
            _line(f"  {reason}")
        _line("")


def _verdict(episode: Episode) -> str:
    if episode.reward is None:
        return f"invalid ({episode.invalid.value if episode.invalid else 'no reason'})"
    blame = f", blame {episode.blame}" if episode.blame else ""
    return (
        f"reward {episode.reward:g} after {episode.turns} turns, ended by {episode.ending}{blame}"
    )


def _message(message: Mapping[str, Any]) -> None:
    role = str(message["role"])
    seat = f" ({message['seat']})" if "seat" in message else ""
    _line(f"{role}{seat}", style=f"bold {COLOURS.get(role, 'white')}")
    text = _text(message.get("content"))
    if text:
        _line(_indented(text))
    for asked in message.get("tool_calls", ()):
        function = asked["function"]
        _line(_indented(f"{function['name']} {_arguments(function['arguments'])}"))


def _text(content: Any) -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    return "\n".join(part.get("text", "[image]") for part in content)


def _arguments(raw: str) -> str:
    """One line for small arguments; longer strings as they read."""
    try:
        arguments = json.loads(raw)
    except ValueError:
        return raw
    if not isinstance(arguments, dict):
        return raw
    parts = []
    for name, value in arguments.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        parts.append(f"{name}=\n{_indented(text)}" if "\n" in text else f"{name}={text}")
    return "  ".join(parts)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.rstrip("\n").split("\n"))


def _headline(text: str) -> None:
    _line(f"── {text}", style="bold")


def _line(text: str, style: str | None = None) -> None:
    console().print(escaped(text), style=style, soft_wrap=True)
