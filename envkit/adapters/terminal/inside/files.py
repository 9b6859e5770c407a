"""Files for the agent: run in a forked child that has become the agent's user.

The supervisor itself never opens a path that the agent chose while the agent is alive, so that
links the agent made lead nowhere the agent could not go itself.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any, Sequence

_CHUNK = 1 << 16
_SAFE = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def write(workspace: str, files: Sequence[dict[str, Any]], body: bytes) -> bytes:
    """Create, replace or (`append`) extend files with consecutive parts of `body`."""
    start = 0
    for file in files:
        path = os.path.join(workspace, file["path"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | _SAFE
        flags |= os.O_APPEND if file["append"] else 0
        descriptor = os.open(path, flags, 0o666)
        with os.fdopen(descriptor, "wb", buffering=0) as opened:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(0, "not a regular file", path)
            if not file["append"]:
                os.ftruncate(descriptor, 0)
            if file["executable"]:
                os.fchmod(descriptor, 0o755)
            data = memoryview(body)[start : start + file["size"]]
            while data:
                data = data[opened.write(data) :]
        start += file["size"]
    return b""


def read(workspace: str, path: str, limit: int) -> bytes:
    """A regular file's bytes; OSError where it is none, or longer than `limit`."""
    full = os.path.join(workspace, path)
    descriptor = os.open(full, os.O_RDONLY | _SAFE)
    with os.fdopen(descriptor, "rb", buffering=0) as opened:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(0, "not a regular file", path)
        data = bytearray()
        while len(data) <= limit and facts.st_size <= limit:
            chunk = opened.read(_CHUNK)
            if not chunk:
                return bytes(data)
            data += chunk
        raise OSError(0, f"longer than {limit} bytes", path)


def listing(workspace: str, path: str, limit: int) -> bytes:
    """Names two levels deep, one per line, directories ending in a slash."""
    top, lines = os.path.join(workspace, path), []
    for name in _some(top, limit):
        full = os.path.join(top, name)
        folder = os.path.isdir(full) and not os.path.islink(full)
        lines.append(name + "/" * folder)
        if folder:
            with contextlib.suppress(OSError):
                for below in _some(full, limit):
                    deep = os.path.join(full, below)
                    mark = "/" * (os.path.isdir(deep) and not os.path.islink(deep))
                    lines.append(f"{name}/{below}{mark}")
        if len(lines) >= limit:
            break
    return "\0".join(lines[:limit]).encode("utf-8", "backslashreplace")


def _some(path: str, limit: int) -> list[str]:
    names = []
    with os.scandir(path) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) >= limit:
                break
    return sorted(names)
