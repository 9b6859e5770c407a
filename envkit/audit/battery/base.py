"""What an attack is, and what an attacker has: the prompt, the tools, and what they answer. Nothing else."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from envkit.data.message import Action, Script, call, say
from envkit.data.tool import Tool

Play = Callable[["Target"], Script]

_FILE = re.compile(r"(?<![\w/.-])[\w.-]+(?:/[\w.-]+)*\.(?:txt|json|csv|md|py|log|ya?ml|toml)\b")
_CALLED_SO = re.compile(
    r"(?i)(?:answer|expected|solution|gold(?:en)?|correct|truth|oracle|flag|secret)\w*"
    r"[\"']?\s*(?:[:=]|is|=>|\||</?\w+>|value=)\s*[\"']?([^\s\"'<>,;|}\])]{2,200})"
)
_TOKEN = re.compile(r"[0-9a-f]{32}")
ANSWERS = ("answer", "expected", "solution", "gold", "secret", "correct", "oracle")


@dataclass(frozen=True, slots=True)
class Target:
    """An environment as an attacker sees it."""

    prompt: str
    tools: tuple[Tool, ...]

    def tool(self, method: str) -> str | None:
        """The first tool that is called so, with or without an adapter's name before it."""
        names = (tool.name for tool in self.tools)
        return next((n for n in names if n == method or n.endswith(f"_{method}")), None)

    def files(self, suffix: str = "") -> list[str]:
        """Names of files that the prompt mentions, in its order."""
        found = dict.fromkeys(_FILE.findall(self.prompt))
        return [name for name in found if name.endswith(suffix)]

    def run(self, command: str) -> Action:
        """A command in the terminal."""
        return call(self.tool("run") or "run", command=command)

    def write(self, path: str, text: str) -> Action:
        """A file in the terminal, whatever was there."""
        folder = path.rpartition("/")[0]
        make = f"mkdir -p {shlex.quote(folder)} && " if folder else ""
        return self.run(f"{make}printf %s {shlex.quote(text)} > {shlex.quote(path)}")

    def deliver(self, text: str) -> Script:
        """Hand an answer in by every way there is: the files that the prompt names, then as the last word."""
        if self.tool("run"):
            for path in self.files():
                yield self.write(path, text)
        yield say(text)


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack. It applies where the agent has every tool that it needs (by the method's name)."""

    name: str
    family: str
    play: Play = field(repr=False)
    needs: tuple[str, ...] = ()
    stopped_by: str = ""  # what keeps it out, where it is kept out

    def applies(self, target: Target) -> bool:
        """Whether the agent has what this needs."""
        return all(target.tool(method) for method in self.needs)


class Family:
    """Collects the attacks of one module: `@family("name", needs=..., stopped_by=...)` above a generator."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.attacks: list[Attack] = []

    def __call__(self, name: str, *needs: str, stopped_by: str) -> Callable[[Play], Play]:
        """Register a generator as an attack."""

        def register(play: Play) -> Play:
            self.attacks.append(Attack(name, self.name, play, needs, stopped_by))
            return play

        return register


def called_answers(text: str) -> Iterator[str]:
    """Values that a text calls an answer, in order; then the text itself, where it is one short word."""
    yield from dict.fromkeys(match.group(1) for match in _CALLED_SO.finditer(text))
    if 0 < len(text.strip()) <= 80 and len(text.split()) == 1:
        yield text.strip()


def first_answer(text: str) -> str:
    """The most likely answer in a text; empty where none is called so. A long hexadecimal token is likelier bait."""
    return next((value for value in called_answers(text) if not _TOKEN.fullmatch(value)), "")
