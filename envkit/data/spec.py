"""`EnvSpec`: the name of a configured environment. Only specs cross a process boundary, never classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode

from envkit.errors import SpecError

_SPEC = re.compile(
    r"""(?: (?P<scheme>[a-z][a-z0-9-]+): (?P<name>[^?]+?)     # scheme:NAME, by the group envkit.sources
          | (?P<pack>[a-z][a-z0-9_-]*) / (?P<env>[a-z][a-z0-9_-]*) )
        (?: @(?P<version>[0-9]+) )?
        (?: \?(?P<query>.*) )?""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class EnvSpec:
    """`pack/env[@version][?key=value&...]`, or `scheme:NAME[...]`. `str()` gives the canonical form.

    A NAME may hold anything but a question mark; `@` and digits at its very end are the version.
    """

    path: str  # "desk/logdesk" or "file:mine.py:Mine"
    version: int | None = None
    config: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def parse(cls, text: str | EnvSpec) -> EnvSpec:
        """Read a spec. Raises SpecError where it is none."""
        if isinstance(text, EnvSpec):
            return text
        match = _SPEC.fullmatch(text)
        if match is None:
            raise SpecError(
                f"{text!r} is not an environment spec; write pack/env, pack/env@1, pack/env?level=hard or"
                " file:PATH.py:CLASS"
            )
        pairs = parse_qsl(match["query"] or "", keep_blank_values=True)
        if len({key for key, _ in pairs}) != len(pairs):
            raise SpecError(f"{text!r} gives the same setting twice")
        scheme = match["scheme"]
        path = f"{scheme}:{match['name']}" if scheme else f"{match['pack']}/{match['env']}"
        return cls(path, int(match["version"]) if match["version"] else None, dict(sorted(pairs)))

    @property
    def scheme(self) -> str | None:
        """The source's name, or None for an installed pack."""
        head, colon, _ = self.path.partition(":")
        return head if colon else None

    @property
    def pack(self) -> str:
        """What owns the environment: the pack's name, or the whole path of another source."""
        return self.path if self.scheme else self.path.partition("/")[0]

    def __str__(self) -> str:
        """The canonical form: settings sorted, so that equal specs read equal."""
        version = "" if self.version is None else f"@{self.version}"
        query = urlencode(sorted(self.config.items()), quote_via=quote)
        return f"{self.path}{version}{'?' + query if query else ''}"
