"""Files in and out, with the agent's rights."""

# ruff: noqa: D102 - a test's name says what it shows
from __future__ import annotations

import pytest

from envkit.adapters.terminal.sandbox import FileProblem, Sandbox

from .common import alive, out


class Files:
    """`write`, `read` and `listing`."""

    async def test_files_go_in_and_come_out(self, box: Sandbox) -> None:
        big = bytes(range(256)) * 10_000
        files = {"a/b/c.txt": b"hello", "big": big, "empty": b"", "tool": b"#!/bin/sh\necho ran\n"}
        await box.write(files, executable=["tool"])
        assert await box.read("big", limit=len(big)) == big
        assert await box.read("/workspace/empty", limit=10) == b""
        assert await out(box, "./tool; stat -c %U:%a a/b/c.txt") == "ran\nagent:644"
        assert await box.listing(".", limit=100) == ["a/", "a/b/", "big", "empty", "tool"]
        await box.write({"big": b"short"})
        assert await box.read("big", limit=100) == b"short"

    async def test_file_problems_are_for_the_agent(self, box: Sandbox) -> None:
        await out(box, "mkfifo pipe; mkdir d; echo 12345 > f; ln -s /etc/shadow s; ln -s loop loop")
        for path in ("nothing", "d", "pipe", "/dev/zero", "s", "loop", "a\0b", "\udcff\ud800"):
            with pytest.raises(FileProblem):
                await box.read(path, limit=100)
        with pytest.raises(FileProblem):
            await box.read("f", limit=5)
        for path in ("/etc/passwd", "d", "pipe", "f/x", "/proc/1/mem", "/new", "a\0b"):
            with pytest.raises(FileProblem):
                await box.write({path: b"x"})
        with pytest.raises(FileProblem):
            await box.listing("f", limit=10)
        await alive(box)

    async def test_files_are_touched_with_the_agents_rights(self, box: Sandbox) -> None:
        await out(box, "ln -s /etc/passwd target; ln -s /proc/1/environ secret; ln -s / top")
        with pytest.raises(FileProblem):
            await box.write({"target": b"root::0:0::/:/bin/sh\n"})
        with pytest.raises(FileProblem):
            await box.read("secret", limit=10_000)
        with pytest.raises(FileProblem):
            await box.write({"top/etc/new": b"x"})
