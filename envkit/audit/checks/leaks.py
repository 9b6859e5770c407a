"""Checks on what an agent can read: gold in the world's seed, on its surfaces, in tools, prompts and repositories."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from envkit.audit.attack import offered
from envkit.audit.checks.base import Found
from envkit.audit.checks.crossgrade import fields_read
from envkit.audit.seen import Drawn, Seen
from envkit.data.score import Finding
from envkit.data.task import Blob
from envkit.errors import EnvkitError
from envkit.guards.scan.decode import MAX_TOTAL, Room
from envkit.guards.scan.needles import Needle, look, look_at_tools, needles
from envkit.guards.scan.repository import scan

MOST = 256 << 20  # bytes of all readings of all contents
_MOST_TOLD = 10  # places that were not wholly read
_SAYS_SO = r"(?i:answer|expected|solution|correct|truth|oracle|gold)\w{0,2}[\"']?\s*(?:[:=]|=>|is)\s*[\"'`(]{0,2}"
_FIELD = re.compile(
    rb"""(?i)(?:name|id)=["']?([\w-]+)["']?[^<>]{0,500}?(?:value|content)=["']([^"'<>]*)["']"""
)
_FIELD_BACKWARDS = re.compile(
    rb"""(?i)(?:value|content)=["']([^"'<>]*)["'][^<>]{0,500}?(?:name|id)=["']?([\w-]+)"""
)


def surfaces(seen: Seen) -> Found:
    """Gold in the open: in the seed, on surfaces before and after ignorant play, in what attacks were shown."""
    scanned, unfolded, told = 0, 0, _Told()
    short: dict[str, None] = {}
    for drawn in seen.drawn:
        wanted = _wanted(seen, drawn)
        for place, data in _contents(seen, drawn):
            if unfolded >= MOST:
                short.setdefault(
                    f"all contents after {MOST >> 20} MiB, from {drawn.place}: {place} on"
                )
                break
            scanned, room = scanned + len(data), Room()
            yield from told.new(look(f"{drawn.place}: {place}", data, wanted, room))
            unfolded += MAX_TOTAL - room.left
            short |= {f"{place}: {why}": None for why in room.cut}
    for why in list(short)[:_MOST_TOLD]:
        seen.missing.append(f"scan: left out {why}")
    return {"bytes": scanned, "bytes_unfolded": unfolded, "left_out": len(short)}


def prompts(seen: Seen) -> Found:
    """A prompt that calls something the answer, or holds it in disguise."""
    for drawn in seen.drawn:
        place, text = f"{drawn.place}: prompt", drawn.public.prompt.encode("utf-8", "replace")
        yield from look(place, text, _wanted(seen, drawn), plain=False)
        for needle in _wanted(seen, drawn):
            if re.search(_SAYS_SO + re.escape(needle.text) + r"(?!\w)", drawn.public.prompt):
                told = f"it calls {needle.text[:80]!r} the answer, which is gold.{needle.field}"
                yield Finding("leak.prompt", "medium", place, told, "ask without answering")
    return {"prompts": len(seen.drawn)}


def _wanted(seen: Seen, drawn: Drawn) -> list[Needle]:
    """Needles of the fields that grade reads: others are notes of scripts, which the world may well hold."""
    read = fields_read(seen)
    every = needles(drawn.gold)
    told = [
        n for n in every if re.split(r"[.\[]", n.field)[0] in read or n.field == "the whole gold"
    ]
    return told if read else every


def tools(seen: Seen) -> Found:
    """A schema is the same for all tasks: a value in it tells the answer of some, or is a menu of all."""
    schemas = [tool.schema() for tool in offered(seen.resolved.env)]
    by_field: dict[str, list[tuple[Drawn, Needle]]] = {}
    for drawn in seen.drawn:
        for needle in _wanted(seen, drawn):
            by_field.setdefault(needle.field, []).append((drawn, needle))
    for entries in by_field.values():
        values = {needle.text for _, needle in entries}
        hits = [
            finding
            for needle in dict.fromkeys(n for _, n in entries)
            for finding in look_at_tools(schemas, [needle])
        ]
        # one answer of all tasks, or one of many that are all different; else it is a menu, or too short to tell
        of_all = len(entries) == len(seen.drawn) > 1
        menu = len({finding.evidence for finding in hits}) > 1 or len(values) < len(entries)
        yield from hits if of_all and (not menu or len(values) == 1) else ()
    return {"tools": len(schemas)}


def repositories(seen: Seen) -> Found:
    """Git repositories in the seeds hold nothing beyond their HEAD."""
    scanned, told = 0, _Told()
    for drawn in seen.drawn:
        for name, files in _file_trees(seen, drawn):
            for root in sorted(
                {path.rpartition(".git/HEAD")[0] for path in files if path.endswith(".git/HEAD")}
            ):
                scanned += 1
                with tempfile.TemporaryDirectory() as folder:
                    _write(
                        Path(folder),
                        {p[len(root) :]: c for p, c in files.items() if p.startswith(root)},
                    )
                    try:
                        found = scan(Path(folder), "HEAD", _wanted(seen, drawn))
                    except EnvkitError as error:
                        seen.missing.append(f"repository {drawn.place}: {name}/{root}: {error}")
                        continue
                    yield from told.new(_placed(f"{drawn.place}: {name}/{root}", found))
    return {"repositories": scanned}


class _Told:
    """Keeps a leak that every task has from being told for each of them."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def new(self, findings: Any) -> Iterator[Finding]:
        """What was not told often enough yet."""
        for finding in findings:
            key = (finding.rule, finding.place.partition(": ")[2])
            self._counts[key] = self._counts.get(key, 0) + 1
            if self._counts[key] == 1 and len(self._counts) <= 40:
                yield finding


def _contents(seen: Seen, drawn: Drawn) -> Iterator[tuple[str, bytes]]:
    """Every content that belongs to a task, each distinct one once."""
    known: set[bytes] = set()
    for place, data in _places(seen, drawn):
        if data not in known:
            known.add(data)
            yield place, data


def _places(seen: Seen, drawn: Drawn) -> Iterator[tuple[str, bytes]]:
    for name, files in _file_trees(seen, drawn):
        yield f"{name} (names of files)", _listed(files)
        yield from ((f"{name}/{path}", content) for path, content in files.items())
    for name, seed in _seeds(seen, drawn):
        yield from _leaves(name, seed.model_dump(mode="python"))
    for play in seen.plays:
        if (play.split, play.index) != (drawn.split, drawn.index):
            continue
        for place, content in (
            *play.start.items(),
            *(play.end.items() if play.policy == "floor" else ()),
        ):
            yield place, content
            yield f"{place} (attributes)", _attributes(content)
        yield "names of surfaces", _listed(play.start)
        if play.policy in ("floor", "attack", "random"):
            # what a tool says may well be one value; it is a leak where it is called the answer
            shown = "\n".join(f"shown: {text}" for text in play.shown)
            yield f"shown to {play.variant or play.policy}", shown.encode()


def _listed(names: Iterable[str]) -> bytes:
    """Names as text, each with a mark before it: a name alone is all that stands there in no file."""
    return "\n".join(f"- {name}" for name in names).encode("utf-8", "replace")


def _attributes(content: bytes) -> bytes:
    """Fields of a page as lines of `name=value`; empty where it has none."""
    if b"<" not in content:
        return b""
    pairs = [*_FIELD.findall(content), *((n, v) for v, n in _FIELD_BACKWARDS.findall(content))]
    return b"\n".join(name + b"=" + value for name, value in pairs)


def _seeds(seen: Seen, drawn: Drawn) -> Iterator[tuple[str, Any]]:
    for name, world in drawn.public.world.items():
        yield name, seen.resolved.env._adapters[name].Seed.model_validate(world)


def _leaves(place: str, value: Any) -> Iterator[tuple[str, bytes]]:
    """Values with the key that they stand under: one value of a record is what a task is made of, and no leak."""
    key = place.rpartition("/")[2].encode("utf-8", "replace")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(f"{place}/{name}", inner)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _leaves(f"{place}/{number}", inner)
    elif isinstance(value, str | int | float):
        yield place, key + b": " + str(value).encode("utf-8", "replace")


def _file_trees(seen: Seen, drawn: Drawn) -> Iterator[tuple[str, Mapping[str, bytes]]]:
    """Files of each adapter that has any, by path."""
    for name, seed in _seeds(seen, drawn):
        files = getattr(seed, "files", None)
        if isinstance(files, Mapping):
            yield name, {str(path): _bytes(content) for path, content in files.items()}


def _bytes(content: Any) -> bytes:
    return content.data if isinstance(content, Blob) else str(content).encode("utf-8", "replace")


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    for name in ("objects", "refs"):  # git wants them, and no file may be in them
        (folder / ".git" / name).mkdir(exist_ok=True)


def _placed(place: str, findings: list[Finding]) -> Iterator[Finding]:
    for one in findings:
        yield Finding(one.rule, one.severity, f"{place}{one.place}", one.evidence, one.remedy)
