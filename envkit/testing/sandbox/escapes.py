"""The walls, and PID 1 behind them."""

# ruff: noqa: D102, S108 - a test's name says what it shows; its paths are inside a sandbox
from __future__ import annotations

import json

from envkit.adapters.terminal.inside.walls import refused_numbers
from envkit.adapters.terminal.sandbox import Sandbox
from envkit.testing.probes import REFUSED_CALLS

from .common import SMALL, alive, out, run_python

_WRITABLE_FOLDERS = """
import os
for top, folders, _ in os.walk("/"):
    folders[:] = [f for f in folders if top != "/" or f != "proc"]
    try: os.rmdir(os.mkdir(top + "/probe") or top + "/probe"); print(top)
    except OSError: pass
"""

ABUSE_OF_PROCESS_ONE = """
import ctypes, os, signal, resource
libc = ctypes.CDLL(None, use_errno=True)
broken = []
def attempt(name, call):
    try:
        if call() not in (-1, None): broken.append(name)
    except (OSError, ValueError): pass
def opened(path, flags): return os.open("/proc/1/" + path, flags | os.O_NONBLOCK)
for fd in range(64):
    attempt(f"write {fd}", lambda: os.write(opened(f"fd/{fd}", os.O_WRONLY), b"FORGED"))
    attempt(f"read {fd}", lambda: os.read(opened(f"fd/{fd}", os.O_RDONLY), 9))
for file in ("mem", "environ", "stack", "auxv", "map_files", "cwd/etc", "root/etc", "ns/pid"):
    attempt(file, lambda: opened(file, os.O_RDONLY))
attempt("maps", lambda: len(open("/proc/1/maps").read()))
attempt("mem w", lambda: os.open("/proc/1/mem", os.O_RDWR))
attempt("ptrace", lambda: libc.ptrace(16, 1, 0, 0))
attempt("seize", lambda: libc.ptrace(0x4206, 1, 0, 0))
attempt("prlimit", lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (3, 3)) and 1)
pid = os.pidfd_open(1)
attempt("pidfd_getfd", lambda: libc.syscall(438, pid, 1, 0))
for number in range(1, 65):
    try: os.kill(1, number)
    except OSError: pass
print(broken)
"""
"""Tries all that one process can do to another; prints what succeeded."""


class Escapes:
    """What an agent must not be able to do."""

    async def test_abuse_of_process_one(self, box: Sandbox) -> None:
        assert await run_python(box, ABUSE_OF_PROCESS_ONE) == "[]"
        await alive(box)

    async def test_walls_no_privilege(self, box: Sandbox) -> None:
        status = await out(box, "cat /proc/self/status")
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert facts["Uid"].split() == ["1000"] * 4
        assert facts["Gid"].split() == ["1000"] * 4
        assert facts["Groups"].split() in ([], ["1000"])
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(facts[name], 16) == 0, name
        assert facts["NoNewPrivs"] == "1"
        assert facts["Seccomp"] == "2"

    async def test_walls_no_network(self, box: Sandbox) -> None:
        interfaces = await out(box, "tail -n +3 /proc/net/dev | cut -d: -f1")
        assert interfaces.split() == ["lo"]
        reach = "import socket; socket.create_connection(('1.1.1.1', 53), 2)"
        assert (await box.run(["python3", "-c", reach], timeout=10)).status == 1

    async def test_walls_loopback_works(self, box: Sandbox) -> None:
        job = await box.start("exec python3 -m http.server --bind 127.0.0.1 8000")
        fetch = (
            "import time, urllib.request as u\nfor _ in range(50):\n"
            " try: print(u.urlopen('http://127.0.0.1:8000').status); break\n"
            " except OSError: time.sleep(0.1)"
        )
        assert await run_python(box, fetch) == "200"
        await box.kill(job)

    async def test_walls_no_host(self, box: Sandbox) -> None:
        seen = await out(box, "env; ls -A / /home /root /run /mnt /srv /opt 2>/dev/null; true")
        for word in ("docker.sock", "envkit", "PYTHONPATH", "VIRTUAL_ENV"):
            assert word not in seen
        look = "find / -xdev \\( -name '*envkit*' -o -name 'supervisor.py' \\) 2>/dev/null | head"
        assert await out(box, look) == ""
        found = await out(box, "cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '")
        assert "seccomp" not in found
        assert "import envkit" not in found

    async def test_walls_nothing_but_scratch_is_writable(self, box: Sandbox) -> None:
        writable = set((await run_python(box, _WRITABLE_FOLDERS)).split())
        assert writable == {"/workspace", "/tmp", "/var/tmp", "/dev/shm"}, writable

    async def test_walls_system_calls(self, box: Sandbox) -> None:
        attack = (
            "import ctypes, json, errno\nlibc = ctypes.CDLL(None, use_errno=True)\nopen_ = {}\n"
            f"for name, number in {json.dumps(refused_numbers())}.items():\n"
            "  ctypes.set_errno(0)\n"
            "  answer = libc.syscall(number, -1, -1, -1, -1, -1, -1)\n"
            "  code = errno.errorcode.get(ctypes.get_errno(), 'none')\n"
            "  if answer != -1 or code not in ('EPERM', 'ENOSYS'): open_[name] = code\n"
            "print(json.dumps(open_))"
        )
        assert set(refused_numbers()) >= REFUSED_CALLS
        assert json.loads(await run_python(box, attack)) == {}

    async def test_walls_no_new_namespaces(self, box: Sandbox) -> None:
        attack = (
            "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
            "flags = (0x20000, *(1 << bit for bit in range(25, 31)))\n"
            "make = lambda f: libc.unshare(f) == 0 or libc.syscall(56, f, 0, 0, 0, 0) > 0\n"
            "print([hex(f) for f in flags if make(f)])"
        )
        assert await run_python(box, attack) == "[]"
        assert (await box.run(["unshare", "-Ur", "true"], timeout=10)).status != 0

    async def test_walls_no_typing_into_terminals(self, box: Sandbox) -> None:
        attack = (
            "import fcntl, os, termios\n"
            "m, s = os.openpty()\n"
            "for call in (termios.TIOCSTI, 0x541C, termios.TIOCSTI | 1 << 32):\n"
            "  try:\n    fcntl.ioctl(s, call & 0xffffffff, b'x'); print('open')\n"
            "  except OSError as problem: print(problem.errno)"
        )
        assert (await run_python(box, attack)).split() == ["1"] * 3

    async def test_walls_setuid_means_nothing(self, box: Sandbox) -> None:
        await out(box, "cp /bin/bash sh; chmod 6755 sh; mkdir -m 7777 d")
        assert await out(box, "./sh -p -c 'id -u; id -g; id -ru'") == "1000\n1000\n1000"

    async def test_walls_sizes(self, box: Sandbox) -> None:
        """All that can be filled together stays below the memory limit."""
        sizes = await out(
            box, "df -BM --output=size /workspace /tmp /var/tmp /dev/shm | tail -n +2"
        )
        megabytes = [int(one.rstrip("M")) for one in sizes.split()]
        assert megabytes[0] == SMALL.disk_mb
        assert sum(megabytes) <= SMALL.memory_mb - 64
