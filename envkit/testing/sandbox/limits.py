"""Using up whatever there is."""

# ruff: noqa: D102 - a test's name says what it shows
from __future__ import annotations

import pytest

from envkit.adapters.terminal.sandbox import Sandbox
from envkit.errors import SandboxLost
from envkit.testing.probes import python

from .common import alive, eventually_alive


class Limits:
    """What an agent takes too much of is its own loss; the sandbox stays usable or says that it is gone."""

    async def test_abuse_flood(self, box: Sandbox) -> None:
        done = await box.shell("head -c 1G /dev/zero", timeout=60, limit=10_000)
        assert len(done.stdout) + done.dropped == 1 << 30 or done.timed_out
        assert len(done.stdout) == 10_000
        await alive(box)

    async def test_abuse_fork_bomb(self, box: Sandbox) -> None:
        done = await box.shell("f() { f | f & f; }; f", timeout=3)
        assert done.seconds < 15
        await box.restart_shell()
        await eventually_alive(box)

    @pytest.mark.parametrize(
        "hog",
        [
            "x = []\nwhile True: x.append(bytearray(1 << 20))",
            "import os\nf = os.memfd_create('x')\nwhile True: os.write(f, bytes(1 << 20))",
            "f = open('/dev/shm/x', 'wb')\nwhile True: f.write(bytes(1 << 20))",
            "import os\nfor _ in range(2000):\n r, w = os.pipe()\n os.set_blocking(w, False)\n"
            " try: os.write(w, bytes(65536))\n except OSError: pass",
            "import os\nfor _ in range(50):\n"
            " if not os.fork():\n  x = bytearray(8 << 20)\n  import time; time.sleep(30)",
        ],
        ids=["heap", "memfd", "shm", "pipes", "many"],
    )
    async def test_abuse_memory(self, box: Sandbox, hog: str) -> None:
        """The supervisor lives, or its loss is reported; nothing hangs."""
        try:
            await box.run(["python3", "-c", hog], timeout=10)
            await box.restart_shell()
            await eventually_alive(box)
        except SandboxLost:
            pass

    async def test_abuse_descriptors_and_signals(self, box: Sandbox) -> None:
        hog = (
            "import os, time\nwhile True:\n try: os.open('/dev/null', 0)\n except OSError: break\n"
        )
        await box.start(f"for i in $(seq 20); do {python(hog + 'time.sleep(60)')} & done; wait")
        for signal in ("STOP", "TERM", "INT", "HUP", "KILL"):
            await box.shell(f"kill -{signal} -1; kill -{signal} 1", timeout=2)
        await eventually_alive(box)
