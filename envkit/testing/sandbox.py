"""What every terminal sandbox must do, as a suite to inherit.

    class TestMine(SandboxConformance):
        @pytest_asyncio.fixture(scope="class", loop_scope="class")
        @classmethod
        async def pool(cls):
            async with await open_my_pool() as pool:
                yield pool

It needs pytest-asyncio; one pool serves the class, so that slots are reused as in a run. Programs
inside are bash, coreutils and python3.
"""

# ruff: noqa: D102, S108 - a test's name says what it shows; its paths are inside a sandbox
from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from envkit.adapters.terminal.inside.walls import refused_numbers
from envkit.adapters.terminal.sandbox import (
    FileProblem,
    FreezeCaps,
    Sandbox,
    SandboxPool,
    SandboxSpec,
)
from envkit.errors import SandboxLost

from .probes import CHANNELS, REFUSED_CALLS, Channel, python

_SMALL = SandboxSpec(memory_mb=192, disk_mb=32, pids=96)
_CAPS = FreezeCaps()
_NAMES = "(cat /proc/[0-9]*/comm 2>/dev/null; true)"  # one may end while the list is read
_CLOSE_ALL = 'for fd in $(seq 3 255); do eval "exec $fd>&-"; done 2>/dev/null; (exit 9)'
_CLOSE_STATUS = (
    "for fd in $(seq 3 255); do grep -qs 'flags:.*1$' /proc/$$/fdinfo/$fd"
    ' && eval "exec $fd>&-"; done; (exit 9)'
)


async def _out(box: Sandbox, command: str, *, timeout: float = 20) -> str:
    """What a shell command prints; it must end well."""
    done = await box.shell(command, timeout=timeout)
    assert done.status == 0, done
    return done.stdout.decode("utf-8", "replace").strip()


async def _python(box: Sandbox, source: str, *, timeout: float = 20) -> str:
    return await _out(box, python(source), timeout=timeout)


async def _alive(box: Sandbox) -> None:
    assert await _out(box, "echo alive") == "alive"


@pytest.mark.asyncio(loop_scope="class")
class SandboxConformance:
    """Inherit, give a `pool` fixture, and every `test_*` runs against it."""

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def pool(cls) -> AsyncIterator[SandboxPool]:
        """Override: a pool that is closed after the class."""
        raise NotImplementedError
        yield

    @pytest_asyncio.fixture(loop_scope="class")
    async def box(
        self, pool: SandboxPool, request: pytest.FixtureRequest
    ) -> AsyncIterator[Sandbox]:
        """One small leased sandbox."""
        async with pool.lease(_SMALL, pack="suite", group=request.node.name) as leased:
            yield leased

    # --- run ------------------------------------------------------------------------------------

    async def test_run_reports_status_and_both_streams(self, box: Sandbox) -> None:
        done = await box.run(["bash", "-c", "echo out; echo err >&2; exit 3"], timeout=10)
        assert (done.status, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
        assert not done.timed_out
        assert done.dropped == 0

    async def test_run_takes_stdin_folder_and_environment(self, box: Sandbox) -> None:
        script = "cat; pwd; echo $COLOUR"
        done = await box.run(
            ["bash", "-c", script], stdin=b"in\n", cwd="/tmp", env={"COLOUR": "red"}, timeout=10
        )
        assert done.stdout == b"in\n/tmp\nred\n"
        much = await box.run(["wc", "-c"], stdin=b"x" * 9_000_000, timeout=10)
        assert much.stdout.strip() == b"9000000"
        with pytest.raises(FileProblem):
            await box.run(["cat"], stdin=bytes(60 << 20), timeout=10)

    async def test_run_of_what_is_not_there_fails_like_a_shell(self, box: Sandbox) -> None:
        assert (await box.run(["no-such-program"], timeout=10)).status == 127
        assert (await box.run(["/etc"], timeout=10)).status == 126
        assert (await box.run(["pwd"], cwd="/nowhere", timeout=10)).status in (126, 127)

    async def test_run_tells_a_signal(self, box: Sandbox) -> None:
        assert (await box.run(["bash", "-c", "kill -TERM $$"], timeout=10)).status == -15

    async def test_run_out_of_time_keeps_what_was_printed(self, box: Sandbox) -> None:
        done = await box.run(["bash", "-c", "echo partial; sleep 60"], timeout=0.5)
        assert done.timed_out
        assert done.status is None
        assert done.stdout == b"partial\n"
        assert done.seconds < 5

    async def test_run_kills_its_session_at_the_end(self, box: Sandbox) -> None:
        done = await box.run(["bash", "-c", "set -m; sleep 61 & sleep 62 & exit 0"], timeout=10)
        assert done.status == 0
        assert "sleep" not in await _out(box, _NAMES)

    async def test_run_does_not_wait_for_a_daemon_that_holds_its_pipe(self, box: Sandbox) -> None:
        done = await box.run(["bash", "-c", "setsid sleep 60 & echo ok"], timeout=10)
        assert (done.stdout, done.timed_out) == (b"ok\n", False)
        assert done.seconds < 5

    async def test_output_over_the_limit_keeps_head_and_tail_and_counts(self, box: Sandbox) -> None:
        done = await box.run(["seq", "100000"], timeout=10, limit=1000)
        assert done.stdout.startswith(b"1\n2\n")
        assert done.stdout.endswith(b"99999\n100000\n")
        assert len(done.stdout) == 1000
        assert done.dropped == 588_895 - 1000

    # --- shell ----------------------------------------------------------------------------------

    async def test_shell_keeps_folder_variables_and_functions(self, box: Sandbox) -> None:
        await _out(
            box, "mkdir deep; cd deep; x=5; f() { echo f$1; }; export y=6; alias a='echo al'"
        )
        assert await _out(box, "basename $PWD; echo $x; f 7; bash -c 'echo $y'\na") == (
            "deep\n5\nf7\n6\nal"
        )

    async def test_shell_gives_status_and_keeps_it(self, box: Sandbox) -> None:
        assert (await box.shell("(exit 42)", timeout=10)).status == 42
        assert await _out(box, "echo $?") == "42"

    async def test_shell_merges_the_streams_in_order(self, box: Sandbox) -> None:
        assert await _out(box, "echo 1; echo 2 >&2; echo 3") == "1\n2\n3"

    async def test_shell_out_of_time_is_usable_and_keeps_its_variables(self, box: Sandbox) -> None:
        await _out(box, "x=5; cd /tmp")
        done = await box.shell("echo before; sleep 60; echo after", timeout=0.5)
        assert done.timed_out
        assert done.status is None
        assert done.stdout.startswith(b"before\n")
        assert done.seconds < 3
        assert "sleep" not in await _out(box, _NAMES)
        assert await _out(box, "echo $x $PWD") == "5 /tmp"

    @pytest.mark.parametrize(
        "command",
        [
            "sleep 60; touch side",
            "f() { sleep 60; touch side; }; f; touch side",
            "for i in 1 2; do sleep 60; touch side; done; touch side",
            "sleep 60 && touch side || touch side",
            "(sleep 60; touch side); touch side",
            "x=$(sleep 60; touch side); touch side",
            "if sleep 60; then touch side; else touch side; fi; echo > side",
            "{ sleep 60; touch side; } | cat; touch side",
            "while :; do sleep 60; touch side; done",
            "while :; do :; done; touch side",
        ],
    )
    async def test_shell_out_of_time_does_not_go_on_with_the_list(
        self, box: Sandbox, command: str
    ) -> None:
        done = await box.shell(command, timeout=0.5)
        assert done.timed_out
        assert await _out(box, "sleep 0.1; ls") == ""
        assert (
            await _out(box, "trap -p DEBUG; y=6; echo $y; shopt extdebug || :")
            == "6\nextdebug       \toff"
        )

    @pytest.mark.parametrize(
        "command",
        [
            "while :; do :; done",
            "while :; do sleep 0.01; done",
            "trap '' TERM INT; while :; do sleep 1; done",
            "(setsid sleep 60 &) ; sleep 60",
            "kill -STOP $$",
            "yes | cat",
        ],
    )
    async def test_shell_survives_commands_that_never_end(self, box: Sandbox, command: str) -> None:
        await _out(box, "cd /tmp")
        done = await box.shell(command, timeout=0.5)
        assert done.timed_out
        assert done.seconds < 4
        assert await _out(box, "pwd") == "/tmp"
        assert "sleep" not in await _out(box, _NAMES)

    async def test_shell_after_exit_is_a_fresh_one(self, box: Sandbox) -> None:
        done = await box.shell("x=5; exit 3", timeout=10)
        assert (done.status, done.timed_out) == (3, False)
        assert await _out(box, "echo [$x]") == "[]"
        assert (await box.shell("kill -9 $$", timeout=10)).status == -9
        assert (await box.shell("exec true", timeout=10)).status == 0
        await _alive(box)

    async def test_shell_background_process_does_not_hold_the_call(self, box: Sandbox) -> None:
        done = await box.shell("sleep 5 & (sleep 0.2; echo late) & echo now", timeout=10)
        assert done.stdout == b"now\n"
        assert done.seconds < 3
        await asyncio.sleep(0.4)
        assert "late" in await _out(box, "jobs > /dev/null; true")

    @pytest.mark.parametrize("reader", ["cat", "read line; echo $line", "python3 -i", "bash -s"])
    async def test_shell_programs_cannot_eat_commands(self, box: Sandbox, reader: str) -> None:
        done = await box.shell(reader, timeout=10)
        assert not done.timed_out
        await _alive(box)

    async def test_shell_takes_any_command_text(self, box: Sandbox) -> None:
        for broken in ("if", "echo 'open", "cat <<EOF", "((", "}"):
            assert (await box.shell(broken, timeout=10)).status != 0 or broken == "cat <<EOF"
        assert len(await _out(box, "cat <<'EOF' | wc -c\n" + "x" * 300_000 + "\nEOF")) >= 6
        assert await _out(box, "echo é ☃") == "é ☃"
        with pytest.raises(FileProblem):
            await box.shell("echo \0", timeout=10)

    async def test_shell_one_at_a_time(self, box: Sandbox) -> None:
        many = await asyncio.gather(*(box.shell(f"echo {n}", timeout=10) for n in range(20)))
        assert [done.stdout for done in many] == [b"%d\n" % n for n in range(20)]

    async def test_shell_restart_throws_everything_away(self, box: Sandbox) -> None:
        await _out(box, "x=1; cd /tmp; sleep 60 &")
        await box.restart_shell()
        assert await _out(box, "echo [$x] $PWD") == "[] /workspace"

    @pytest.mark.parametrize(
        "attack",
        [
            "for fd in $(seq 3 255); do printf '1 0 /\\0' >&$fd; done 2>/dev/null; (exit 9)",
            "for fd in /proc/$$/fd/*; do printf '99 0 /\\0junk' > $fd; done 2>/dev/null; (exit 9)",
            _CLOSE_ALL,
            "head -c 200000 /dev/urandom >&62; (exit 9)",
            "head -c 200000 /dev/zero >&10 2>/dev/null; (exit 9)",
            "cat <&63 & cat <&61 & (exit 9)",
        ],
    )
    async def test_shell_status_pipe_can_be_abused_but_not_desynchronised(
        self, box: Sandbox, attack: str
    ) -> None:
        await box.shell(attack, timeout=1.5)
        answered = 0
        for number in range(5):
            done = await box.shell(f"echo token {number}; (exit {number + 3})", timeout=1.5)
            if done.timed_out or done.status == -9:  # said to be broken: replaced for the next one
                continue
            assert done.status == number + 3, done
            assert done.stdout.endswith(b"token %d\n" % number), done
            answered += 1
        assert answered >= 3

    async def test_shell_without_its_status_pipe_is_replaced_at_once(self, box: Sandbox) -> None:
        done = await box.shell(_CLOSE_STATUS, timeout=20)
        assert done.seconds < 5
        assert not done.timed_out
        await _alive(box)

    async def test_shell_that_redefines_its_own_words_can_be_restarted(self, box: Sandbox) -> None:
        await box.shell("printf() { :; }; builtin() { :; }; eval() { :; }", timeout=1)
        await box.restart_shell()
        await _alive(box)

    # --- jobs -----------------------------------------------------------------------------------

    async def test_job_prints_takes_input_and_ends(self, box: Sandbox) -> None:
        job = await box.start("while read x; do echo got $x; done; exit 5")
        await box.send(job, b"one\n")
        state = await box.poll(job, wait=5)
        assert state.running
        assert state.output == b"got one\n"
        assert (await box.poll(job)).output == b""
        await box.kill(job)
        ended = await box.poll(job, wait=5)
        assert (ended.running, ended.status) == (False, -9)
        with pytest.raises(FileProblem):
            await box.send(job, b"more\n")
        with pytest.raises(FileProblem):
            await box.poll(99)

    async def test_job_output_is_bounded_and_counted(self, box: Sandbox) -> None:
        job = await box.start("seq 1000000")
        total = 0
        running = True
        while running:
            state = await box.poll(job, wait=5, limit=10_000)
            assert len(state.output) <= 10_000
            total += len(state.output) + state.dropped
            running = state.running
        assert total == 6_888_896

    async def test_job_survives_a_shell_timeout(self, box: Sandbox) -> None:
        job = await box.start("sleep 60")
        await box.shell("sleep 60", timeout=0.3)
        assert (await box.poll(job)).running
        await box.kill(job)
        assert not (await box.poll(job, wait=5)).running

    async def test_pty_has_a_size_and_talks(self, box: Sandbox) -> None:
        job = await box.start("stty size; tty; exec python3 -q", pty=(30, 100))
        seen = b""
        await box.send(job, b"6*7\n")
        until = time.monotonic() + 10
        while b"42" not in seen and time.monotonic() < until:
            seen += (await box.poll(job, wait=1)).output
        assert b"30 100" in seen
        assert b"/dev/pts/" in seen
        assert b"42" in seen
        await box.send(job, b"exit()\n")
        while (state := await box.poll(job, wait=5)).running:
            pass
        assert state.status == 0

    # --- files ----------------------------------------------------------------------------------

    async def test_files_go_in_and_come_out(self, box: Sandbox) -> None:
        big = bytes(range(256)) * 10_000
        files = {"a/b/c.txt": b"hello", "big": big, "empty": b"", "tool": b"#!/bin/sh\necho ran\n"}
        await box.write(files, executable=["tool"])
        assert await box.read("big", limit=len(big)) == big
        assert await box.read("/workspace/empty", limit=10) == b""
        assert await _out(box, "./tool; stat -c %U:%a a/b/c.txt") == "ran\nagent:644"
        assert await box.listing(".", limit=100) == ["a/", "a/b/", "big", "empty", "tool"]
        await box.write({"big": b"short"})
        assert await box.read("big", limit=100) == b"short"

    async def test_file_problems_are_for_the_agent(self, box: Sandbox) -> None:
        await _out(
            box, "mkfifo pipe; mkdir d; echo 12345 > f; ln -s /etc/shadow s; ln -s loop loop"
        )
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
        await _alive(box)

    async def test_files_are_touched_with_the_agents_rights(self, box: Sandbox) -> None:
        await _out(box, "ln -s /etc/passwd target; ln -s /proc/1/environ secret; ln -s / top")
        with pytest.raises(FileProblem):
            await box.write({"target": b"root::0:0::/:/bin/sh\n"})
        with pytest.raises(FileProblem):
            await box.read("secret", limit=10_000)
        with pytest.raises(FileProblem):
            await box.write({"top/etc/new": b"x"})

    # --- cancelling and freezing ----------------------------------------------------------------

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
        assert await _out(box, _NAMES + " | grep -c sleep") == "1"
        found = await box.freeze(["answer.txt"], _CAPS)
        assert [one.data for one in found] == [b"42"]

    async def test_freeze_kills_everything_and_ends_the_session(self, box: Sandbox) -> None:
        job = await box.start("trap '' TERM; while :; do date > ticks; sleep 0.01; done")
        waiting = asyncio.create_task(box.shell("setsid sleep 60 & sleep 60", timeout=60))
        await asyncio.sleep(0.3)
        first = await box.freeze(["ticks"], _CAPS)
        assert (await waiting).status == -9
        await asyncio.sleep(0.1)
        assert await box.freeze(["ticks"], _CAPS) == first
        with pytest.raises(FileProblem):
            await box.shell("echo", timeout=5)
        with pytest.raises(FileProblem):
            await box.poll(job)

    async def test_freeze_takes_only_plain_files(self, box: Sandbox) -> None:
        await _python(
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
        found = {one.path: one for one in await box.freeze(["*", "folder/passwd"], _CAPS)}
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
        await _python(
            box,
            "import os\n"
            "for _ in range(3000): os.mkdir('d'); os.chdir('d')\n"
            "open('leaf', 'w').close()",
        )
        await box.write({"answer.txt": b"42"})
        found = await box.freeze(["answer.txt", "**/leaf"], _CAPS)
        assert [(one.path.split(b"/")[-1], one.kind) for one in found] == [
            (b"answer.txt", "file"),
            (b"d", "oversize"),
        ]

    async def test_freeze_caps_entries_and_bytes(self, box: Sandbox) -> None:
        await _python(box, "for i in range(3000): open(f'f{i}', 'w').write('x' * 100)")
        await box.write({"deep/answer.txt": b"42"})
        exact = await box.freeze(["deep/answer.txt"], FreezeCaps(entries=10))
        assert [one.data for one in exact] == [b"42"]
        many = await box.freeze(["*"], _CAPS)
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
            found = await box.freeze([pattern], _CAPS)
            assert [one.path.decode() for one in found if one.kind == "file"] == wanted, pattern

    async def test_freeze_works_with_a_full_disk_and_no_processes_left(self, box: Sandbox) -> None:
        await box.write({"answer.txt": b"42"})
        await box.shell("head -c 1G /dev/zero > full; head -c 1G /dev/zero > /tmp/full", timeout=20)
        bomb = "while :; do sleep 100 & done 2>/dev/null"
        await box.start(bomb)
        await box.start(f"setsid bash -c {bomb!r}")
        await asyncio.sleep(1)
        found = await box.freeze(["answer.txt"], _CAPS)
        assert [one.data for one in found] == [b"42"]

    # --- abuse ----------------------------------------------------------------------------------

    async def test_abuse_flood(self, box: Sandbox) -> None:
        done = await box.shell("head -c 1G /dev/zero", timeout=60, limit=10_000)
        assert len(done.stdout) + done.dropped == 1 << 30 or done.timed_out
        assert len(done.stdout) == 10_000
        await _alive(box)

    async def test_abuse_fork_bomb(self, box: Sandbox) -> None:
        done = await box.shell("f() { f | f & f; }; f", timeout=3)
        assert done.seconds < 15
        await box.restart_shell()
        await _eventually_alive(box)

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
            await _eventually_alive(box)
        except SandboxLost:
            pass

    async def test_abuse_descriptors_and_signals(self, box: Sandbox) -> None:
        hog = (
            "import os, time\nwhile True:\n try: os.open('/dev/null', 0)\n except OSError: break\n"
        )
        await box.start(f"for i in $(seq 20); do {python(hog + 'time.sleep(60)')} & done; wait")
        for signal in ("STOP", "TERM", "INT", "HUP", "KILL"):
            await box.shell(f"kill -{signal} -1; kill -{signal} 1", timeout=2)
        await _eventually_alive(box)

    async def test_abuse_of_process_one(self, box: Sandbox) -> None:
        attack = """
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
        assert await _python(box, attack) == "[]"
        await _alive(box)

    # --- walls ----------------------------------------------------------------------------------

    async def test_walls_no_privilege(self, box: Sandbox) -> None:
        status = await _out(box, "cat /proc/self/status")
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert facts["Uid"].split() == ["1000"] * 4
        assert facts["Gid"].split() == ["1000"] * 4
        assert facts["Groups"].split() in ([], ["1000"])
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(facts[name], 16) == 0, name
        assert facts["NoNewPrivs"] == "1"
        assert facts["Seccomp"] == "2"

    async def test_walls_no_network(self, box: Sandbox) -> None:
        interfaces = await _out(box, "tail -n +3 /proc/net/dev | cut -d: -f1")
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
        assert await _python(box, fetch) == "200"
        await box.kill(job)

    async def test_walls_no_host(self, box: Sandbox) -> None:
        seen = await _out(box, "env; ls -A / /home /root /run /mnt /srv /opt 2>/dev/null; true")
        for word in ("docker.sock", "envkit", "PYTHONPATH", "VIRTUAL_ENV"):
            assert word not in seen
        look = "find / -xdev \\( -name '*envkit*' -o -name 'supervisor.py' \\) 2>/dev/null | head"
        assert await _out(box, look) == ""
        found = await _out(box, "cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '")
        assert "seccomp" not in found
        assert "import envkit" not in found

    async def test_walls_nothing_but_scratch_is_writable(self, box: Sandbox) -> None:
        writable = set((await _python(box, _WRITABLE_FOLDERS)).split())
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
        assert json.loads(await _python(box, attack)) == {}

    async def test_walls_no_new_namespaces(self, box: Sandbox) -> None:
        attack = (
            "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
            "flags = (0x20000, *(1 << bit for bit in range(25, 31)))\n"
            "make = lambda f: libc.unshare(f) == 0 or libc.syscall(56, f, 0, 0, 0, 0) > 0\n"
            "print([hex(f) for f in flags if make(f)])"
        )
        assert await _python(box, attack) == "[]"
        assert (await box.run(["unshare", "-Ur", "true"], timeout=10)).status != 0

    async def test_walls_no_typing_into_terminals(self, box: Sandbox) -> None:
        attack = (
            "import fcntl, os, termios\n"
            "m, s = os.openpty()\n"
            "for call in (termios.TIOCSTI, 0x541C, termios.TIOCSTI | 1 << 32):\n"
            "  try:\n    fcntl.ioctl(s, call & 0xffffffff, b'x'); print('open')\n"
            "  except OSError as problem: print(problem.errno)"
        )
        assert (await _python(box, attack)).split() == ["1"] * 3

    async def test_walls_setuid_means_nothing(self, box: Sandbox) -> None:
        await _out(box, "cp /bin/bash sh; chmod 6755 sh; mkdir -m 7777 d")
        assert await _out(box, "./sh -p -c 'id -u; id -g; id -ru'") == "1000\n1000\n1000"

    async def test_walls_sizes(self, box: Sandbox) -> None:
        """All that can be filled together stays below the memory limit."""
        sizes = await _out(
            box, "df -BM --output=size /workspace /tmp /var/tmp /dev/shm | tail -n +2"
        )
        megabytes = [int(one.rstrip("M")) for one in sizes.split()]
        assert megabytes[0] == _SMALL.disk_mb
        assert sum(megabytes) <= _SMALL.memory_mb - 64

    # --- the next lease -------------------------------------------------------------------------

    @pytest.mark.parametrize("channel", CHANNELS, ids=[one.name for one in CHANNELS])
    async def test_reset_carries_nothing(self, pool: SandboxPool, channel: Channel) -> None:
        async def episode(number: int, *scripts: str) -> str:
            group = f"{channel.name} {number}"
            async with pool.lease(_SMALL, pack="bits", group=group) as box:
                return [(await box.shell(one, timeout=30)).stdout.decode() for one in scripts][-1]

        before = await episode(1, channel.look)
        during = await episode(2, channel.send, channel.look)
        after = await episode(3, channel.look)
        assert after == before, (before, after)
        assert (during != before) or not channel.real, "the probe itself sees nothing"

    async def test_lease_that_is_over_is_over(self, pool: SandboxPool) -> None:
        async with pool.lease(_SMALL, pack="a", group="1") as box:
            await box.write({"x": b""})
        with pytest.raises(SandboxLost):
            await box.shell("echo", timeout=5)

    async def test_lease_never_shares_a_slot_in_a_group_or_between_packs(
        self, pool: SandboxPool
    ) -> None:
        seen: list[Any] = []
        for pack, group in (("a", "1"), ("a", "1"), ("b", "1"), ("b", "2"), ("b", "2")):
            async with pool.lease(_SMALL, pack=pack, group=group) as box:
                channel = box._channel  # type: ignore[attr-defined]
                assert (pack, group, channel) not in seen
                assert all(other != channel or p == pack for p, _, other in seen)
                seen.append((pack, group, channel))

    async def test_lease_can_be_cancelled_at_any_moment(self, pool: SandboxPool) -> None:
        async def episode(number: int) -> None:
            async with pool.lease(_SMALL, pack="a", group=f"step {number}") as box:
                await box.shell("echo", timeout=10)

        for step in range(8):
            task = asyncio.create_task(episode(step))
            await asyncio.sleep(step * 0.04)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await episode(99)

    async def test_two_leases_share_nothing(self, pool: SandboxPool) -> None:
        async with (
            pool.lease(_SMALL, pack="a", group="1") as one,
            pool.lease(_SMALL, pack="a", group="1") as two,
        ):
            await one.write({"/tmp/x": b"", "/dev/shm/x": b"", "x": b""})
            await one.start("sleep 60")
            assert await _out(two, "ls -A /tmp /dev/shm . | grep -c ^x; true") == "0"
            assert "sleep" not in await _out(two, _NAMES)


_WRITABLE_FOLDERS = """
import os
for top, folders, _ in os.walk("/"):
    folders[:] = [f for f in folders if top != "/" or f != "proc"]
    try: os.rmdir(os.mkdir(top + "/probe") or top + "/probe"); print(top)
    except OSError: pass
"""


async def _eventually_alive(box: Sandbox) -> None:
    """Usable again within a few seconds of the abuse."""
    for _ in range(20):
        try:
            done = await box.shell("echo alive", timeout=5)
        except FileProblem:
            await asyncio.sleep(0.3)
            continue
        if done.stdout.endswith(b"alive\n"):
            return
        await asyncio.sleep(0.3)
    raise AssertionError("the sandbox stayed unusable")
