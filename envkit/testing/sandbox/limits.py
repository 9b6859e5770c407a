"""Using up whatever there is."""

# ruff: noqa: D102 - a test's name says what it shows; its paths are inside a sandbox
from __future__ import annotations

import asyncio

import pytest

from envkit.adapters.terminal.sandbox import Sandbox
from envkit.errors import SandboxLost
from envkit.testing.probes import python

from .common import CAPS, SMALL, alive, eventually_alive

_FORKS = """
import os, time
made = 0
try:
    for made in range(400):
        if os.fork() == 0: time.sleep(30); os._exit(0)
except BlockingIOError: pass
print(made)
"""
# Each takes three times what the sandbox has, and no more: a limit that is missing is seen, not felt.
_HOGS = {
    "heap": "x = []\nfor _ in range(600): x.append(bytearray(b'x') * (1 << 20))",
    "memfd": "import os\nf = os.memfd_create('x')\nfor _ in range(600): os.write(f, bytes(1 << 20))",
    "shm": "f = open('/dev/shm/x', 'wb')\nfor _ in range(600): f.write(bytes(1 << 20))",
    "workspace": "f = open('/workspace/x', 'wb')\nfor _ in range(600): f.write(bytes(1 << 20))",
    "many": """
import os, sys, time
for _ in range(10):
    if not os.fork(): x = bytearray(b"x") * (60 << 20); time.sleep(3); os._exit(0)
if any(os.wait()[1] for _ in range(10)): sys.exit(1)
""",
}
_PIPES = """
import os, resource, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
for _ in range(2000):
    r, w = os.pipe(); os.set_blocking(w, False)
    try: os.write(w, bytes(65536))
    except OSError: pass
time.sleep(60)
"""
_DESCRIPTORS = """
import os, resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
for opened in range(5000):
    try: os.open("/dev/null", 0)
    except OSError: break
print(opened)
"""


class Limits:
    """What an agent takes too much of is its own loss; the sandbox stays usable or says that it is gone."""

    async def test_abuse_flood(self, box: Sandbox) -> None:
        done = await box.shell("head -c 1G /dev/zero", timeout=60, limit=10_000)
        assert len(done.stdout) + done.dropped == 1 << 30 or done.timed_out
        assert len(done.stdout) == 10_000
        await alive(box)

    async def test_abuse_fork_bomb(self, box: Sandbox) -> None:
        done = await box.shell("f() { f | f & f; }; f", timeout=1)
        assert done.seconds < 15
        await box.restart_shell()
        await eventually_alive(box)

    async def test_abuse_processes_are_counted(self, box: Sandbox) -> None:
        done = await box.run(["python3", "-c", _FORKS], timeout=20)
        assert 10 < int(done.stdout) < SMALL.pids

    @pytest.mark.parametrize("hog", _HOGS.values(), ids=_HOGS)
    async def test_abuse_memory(self, box: Sandbox, hog: str) -> None:
        """The hog dies and the sandbox goes on, or its loss is said; nothing is silent or hangs."""
        try:
            done = await box.run(["python3", "-c", hog + "\nprint('survived')"], timeout=20)
            assert not done.timed_out
            assert b"survived" not in done.stdout
            await box.restart_shell()
            await eventually_alive(box)
        except SandboxLost:
            with pytest.raises(SandboxLost):
                await box.freeze(["*"], CAPS)

    async def test_abuse_memory_of_the_kernel(self, box: Sandbox) -> None:
        """Full pipes, which belong to no process: they end with those that hold them."""
        await box.start(python(_PIPES))
        await asyncio.sleep(0.5)
        await eventually_alive(box)

    async def test_abuse_descriptors_are_counted(self, box: Sandbox) -> None:
        done = await box.run(["python3", "-c", _DESCRIPTORS], timeout=20)
        assert 1_000 < int(done.stdout) <= 4_096

    async def test_abuse_descriptors_and_signals(self, box: Sandbox) -> None:
        hog = (
            "import os, time\nwhile True:\n try: os.open('/dev/null', 0)\n except OSError: break\n"
        )
        await box.start(f"for i in $(seq 20); do {python(hog + 'time.sleep(60)')} & done; wait")
        for signal in ("STOP", "TERM", "INT", "HUP", "KILL"):
            await box.shell(f"kill -{signal} -1; kill -{signal} 1", timeout=2)
        await eventually_alive(box)
