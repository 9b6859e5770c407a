"""File trees: what each file holds, to the byte, and that nothing else is there."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from envkit.data.evidence import Evidence, FrozenItem
from envkit.data.score import Check, failed, passed
from envkit.data.task import Blob
from envkit_validators._show import show

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Sha256:
    """Content known by its hash alone, as 64 lower-case hex digits."""

    digest: str

    def __post_init__(self) -> None:
        """Refuse what no content could hash to."""
        if not _HEX.fullmatch(self.digest):
            raise ValueError(f"a SHA-256 has 64 lower-case hex digits, not {self.digest!r:.80}")


Content: TypeAlias = "str | bytes | Blob | Sha256"


def tree_equal(
    evidence: Evidence,
    prefix: str,
    expected: Mapping[str, Content],
    *,
    ignore: Sequence[str] = (),
) -> Check:
    """The frozen files under `prefix` are those expected, to the byte, and nothing else is there.

    What could not be frozen (a link, a device, a file over a cap) counts as something else. Give
    the files of the task's seed with what should have changed: `{**seed, "app.cfg": fixed}`. A file
    that only trails a newline differs; `exact` on its text is the lenient comparison.

    Args:
        evidence: What was frozen; the declaration must cover the whole tree.
        prefix: The adapter's name and a folder, ending in a slash: "shell/".
        expected: Content by path under `prefix`; text stands for its UTF-8.
        ignore: Paths, or folders ending in a slash, that may hold anything, or nothing.

    Raises:
        ValueError: no expectation, a prefix without its slash, an absolute path, a path both
            expected and ignored.
    """
    want = _wanted(prefix, expected, ignore)
    items = [item for item in evidence.frozen.items if _is_watched(item.name, prefix, ignore)]
    why = _unlike(items, prefix, want)
    return failed(why) if why else passed(f"saw all {len(want)} files and no other")


def _wanted(
    prefix: str, expected: Mapping[str, Content], ignore: Sequence[str]
) -> dict[str, bytes]:
    if not prefix.endswith("/") or prefix.startswith("/"):
        raise ValueError(f"tree_equal: a prefix ends in a slash, as in 'shell/', unlike {prefix!r}")
    if not expected:
        raise ValueError("tree_equal needs at least one file: an empty tree takes no work")
    if isinstance(ignore, str):
        raise ValueError(f"tree_equal: ignore is a sequence of paths; write ({ignore!r},)")  # noqa: TRY004
    for path in (*expected, *ignore):
        if not path.strip("/") or path.startswith("/"):
            raise ValueError(f"tree_equal: {path!r} is no path inside {prefix!r}")
    for path in expected:
        if not _is_watched(prefix + path, prefix, ignore):
            raise ValueError(f"tree_equal: {path!r} is both expected and ignored")
    return {path: _digest(path, content) for path, content in expected.items()}


def _digest(path: str, content: Content) -> bytes:
    if isinstance(content, Sha256):
        return bytes.fromhex(content.digest)
    if isinstance(content, Blob):
        content = content.data
    if isinstance(content, str):
        content = content.encode()  # of a lone surrogate: UnicodeEncodeError, which is a ValueError
    if not isinstance(content, bytes):
        raise ValueError(f"tree_equal: {path!r} must be text, bytes, a Blob or a Sha256")  # noqa: TRY004
    return hashlib.sha256(content).digest()


def _is_watched(name: str, prefix: str, ignore: Sequence[str]) -> bool:
    path = name.removeprefix(prefix)
    return name.startswith(prefix) and not any(
        path.startswith(skip) if skip.endswith("/") else path == skip for skip in ignore
    )


def _unlike(items: Sequence[FrozenItem], prefix: str, want: Mapping[str, bytes]) -> str:
    names = Counter(item.name.removeprefix(prefix) for item in items)
    if max(names.values(), default=0) > 1:  # two names of bytes may be written as one text
        return f"saw {show(names.most_common(1)[0][0])} more than once"
    more, missing = sorted(names.keys() - want.keys()), sorted(want.keys() - names.keys())
    if more or missing:
        return f"saw {len(more)} more files {show(more)}, missing {len(missing)} {show(missing)}"
    for item in items:
        path = item.name.removeprefix(prefix)
        if item.kind != "file":
            return f"saw {show(path)}, {item.kind}: {show(item.detail)}"
        if hashlib.sha256(item.data).digest() != want[path]:
            return f"{show(path)} holds {show(item.data)}, which is not what was expected"
    return ""
