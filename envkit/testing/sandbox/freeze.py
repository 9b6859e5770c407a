"""Cancelled calls, and the frozen export."""

# ruff: noqa: D102 - a test's name says what it shows
from __future__ import annotations

import asyncio

import pytest

from envkit.adapters.terminal.sandbox import FileProblem, FreezeCaps, Sandbox

from .common import CAPS, NAMES, out, run_python


class Freeze:
    """What is left to be judged, whatever was done before."""

    async def test_cancelled_calls_leave_it_usable(self, box: Sandbox) -> None:
        await box.write({"answer.txt": b"42"})
        for call in (
            box.shell("sleep 60", timeout=60),
            box.run(["sleep", "61"], timeout=60),
            box.poll(await box.start("sleep 62"), wait=60),
        ):
            task = asyncio.create_task(call)
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await out(box, NAMES + " | grep -c sleep") == "1"
        found = await box.freeze(["answer.txt"], CAPS)
        assert [one.data for one in found] == [b"42"]

    async def test_freeze_kills_everything_and_ends_the_session(self, box: Sandbox) -> None:
        job = await box.start("trap '' TERM; while :; do date > ticks; sleep 0.01; done")
        waiting = asyncio.create_task(box.shell("setsid sleep 60 & sleep 60", timeout=60))
        await asyncio.sleep(0.3)
        first = await box.freeze(["ticks"], CAPS)
        assert (await waiting).status == -9
        await asyncio.sleep(0.1)
        assert await box.freeze(["ticks"], CAPS) == first
        with pytest.raises(FileProblem):
            await box.shell("echo", timeout=5)
        with pytest.raises(FileProblem):
            await box.poll(job)

    async def test_freeze_takes_only_plain_files(self, box: Sandbox) -> None:
        await run_python(
            box,
            "import os, socket\n"
            "os.mkfifo('fifo'); os.symlink('/etc/passwd', 'link'); os.symlink('/etc', 'folder')\n"
            "open('one', 'w').write('1'); os.link('one', 'two')\n"
            "socket.socket(socket.AF_UNIX).bind('socket')\n"
            "open(b'\\xff\\n', 'w').write('odd')\n"
            "os.truncate(os.open('sparse', os.O_CREAT | os.O_WRONLY), 8 << 40)\n"
            "open('hidden', 'w').write('h'); os.chmod('hidden', 0)\n"
            "os.mkdir('answer'); open('.dot', 'w').write('d')\n",
        )
        found = {one.path: one for one in await box.freeze(["*", "folder/passwd"], CAPS)}
        kinds = {path: one.kind for path, one in found.items() if path != b"hidden"}
        assert kinds == {
            b"fifo": "refused",
            b"link": "refused",
            b"folder": "refused",
            b"one": "refused",
            b"two": "refused",
            b"socket": "refused",
            b"sparse": "oversize",
            b"\xff\n": "file",
            b".dot": "file",
        }
        assert found[b"\xff\n"].data == b"odd"

    async def test_freeze_is_not_felled_by_depth(self, box: Sandbox) -> None:
        await run_python(
            box,
            "import os\n"
            "for _ in range(3000): os.mkdir('d'); os.chdir('d')\n"
            "open('leaf', 'w').close()",
        )
        await box.write({"answer.txt": b"42"})
        found = await box.freeze(["answer.txt", "**/leaf"], CAPS)
        assert [(one.path.split(b"/")[-1], one.kind) for one in found] == [
            (b"answer.txt", "file"),
            (b"d", "oversize"),
        ]

    async def test_freeze_caps_entries_and_bytes(self, box: Sandbox) -> None:
        await run_python(box, "for i in range(3000): open(f'f{i}', 'w').write('x' * 100)")
        await box.write({"deep/answer.txt": b"42"})
        exact = await box.freeze(["deep/answer.txt"], FreezeCaps(entries=10))
        assert [one.data for one in exact] == [b"42"]
        many = await box.freeze(["*"], CAPS)
        assert (many[0].path, many[0].kind) == (b".", "oversize")
        few = await box.freeze(["*"], FreezeCaps(entries=5000, total_bytes=1000, file_bytes=100))
        assert sum(len(one.data) for one in few) <= 1000
        assert any(one.kind == "oversize" for one in few)

    async def test_freeze_understands_patterns(self, box: Sandbox) -> None:
        names = ("a.txt", "b.md", "x/a.txt", "x/y/a.txt", "x/y/[1].txt", "node/dep/big")
        await box.write(dict.fromkeys(names, b""))
        for pattern, wanted in {
            "*.txt": ["a.txt"],
            "**/*.txt": ["a.txt", "x/a.txt", "x/y/[1].txt", "x/y/a.txt"],
            "x/**": ["x/a.txt", "x/y/[1].txt", "x/y/a.txt"],
            "?.[!t]?": ["b.md"],
            "x/*/[[]1].txt": ["x/y/[1].txt"],
            "./x//a.txt": ["x/a.txt"],
            "../etc/passwd": [],
            "/etc/passwd": [],
        }.items():
            found = await box.freeze([pattern], CAPS)
            assert [one.path.decode() for one in found if one.kind == "file"] == wanted, pattern

    async def test_freeze_works_with_a_full_disk_and_no_processes_left(self, box: Sandbox) -> None:
        await box.write({"answer.txt": b"42"})
        await box.shell("head -c 1G /dev/zero > full; head -c 1G /dev/zero > /tmp/full", timeout=20)
        bomb = "while :; do sleep 100 & done 2>/dev/null"
        await box.start(bomb)
        await box.start(f"setsid bash -c {bomb!r}")
        await asyncio.sleep(0.4)
        found = await box.freeze(["answer.txt"], CAPS)
        assert [one.data for one in found] == [b"42"]
