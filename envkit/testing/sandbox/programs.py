"""One-shot programs and background jobs."""

# ruff: noqa: D102, S108 - a test's name says what it shows; its paths are inside a sandbox
from __future__ import annotations

import asyncio
import re
import time

import pytest

from envkit.adapters.terminal.sandbox import FileProblem, JobState, Sandbox

from .common import gone, out


class Programs:
    """`run`, `start`, `send`, `poll` and `kill`."""

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
        await gone(box, "sleep")

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

    # --- jobs ---------------------------------------------------------------------------------------

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

    async def test_jobs_that_ended_free_their_places(self, box: Sandbox) -> None:
        """More jobs than there are places, read, unread and killed; a number is never used again."""
        numbers = []
        for _ in range(30):
            read, unread, killed = [
                await box.start(one) for one in ("echo 1", "echo 12", "echo 123; sleep 60")
            ]
            while (await box.poll(read, wait=5)).running:
                pass
            await box.poll(killed, wait=5)
            await box.kill(killed)
            numbers += [read, unread, killed]
        for _ in range(40):
            numbers.append(await box.start("echo 12"))
        assert numbers == list(range(1, 131))
        assert (await box.poll(numbers[0])) == JobState(False, 0, b"", 0)
        assert (await box.poll(numbers[1])) == JobState(False, 0, b"", 3)  # its place was needed
        assert (await box.poll(numbers[1])) == JobState(False, 0, b"", 0)
        assert (await box.poll(numbers[-1], wait=5)).output == b"12\n"
        assert not (await box.poll(numbers[2])).running
        await box.kill(numbers[2])
        with pytest.raises(FileProblem):
            await box.send(numbers[2], b"x")
        with pytest.raises(FileProblem):
            await box.poll(131)

    async def test_jobs_that_run_keep_their_places(self, box: Sandbox) -> None:
        """What ended makes way, output that nobody read last; what runs does not."""
        unread = await box.start("echo 12")
        with_daemon = await box.start("sleep 60 & echo 1")
        while (await box.poll(with_daemon, wait=5)).running:
            pass
        for _ in range(63):
            await box.start("exec sleep 60")
        with pytest.raises(FileProblem):
            await box.send(with_daemon, b"x")
        assert (await box.poll(unread)).output == b"12\n"
        await box.start("exec sleep 60")
        with pytest.raises(FileProblem, match="at most 64 jobs"):
            await box.start("true")
        await box.kill(7)
        while (await box.poll(7, wait=5)).running:
            pass
        assert await box.start("true") == 67

    async def test_job_that_left_a_daemon_is_heard_until_that_ends(self, box: Sandbox) -> None:
        job = await box.start("(sleep 0.3; echo late; echo later > said) & echo now")
        await asyncio.sleep(0.15)
        assert (await box.poll(job)) == JobState(False, 0, b"now\n", 0)
        await asyncio.sleep(0.4)
        assert (await box.poll(job)).output == b"late\n"
        assert await out(box, "cat said") == "later"

    async def test_job_survives_a_shell_timeout(self, box: Sandbox) -> None:
        job = await box.start("sleep 60")
        await box.shell("sleep 60", timeout=0.3)
        assert (await box.poll(job)).running
        await box.kill(job)
        assert not (await box.poll(job, wait=5)).running

    async def test_pty_has_a_size_and_talks(self, box: Sandbox) -> None:
        job = await box.start("stty size; tty; exec python3 -q", pty=(30, 100))
        await box.send(job, b"6*7\n")
        # Up to the next prompt: until then a program that changes modes may not hear what is typed.
        seen = await _until(box, job, rb"\r\n42\r\n.*>>> ")
        assert seen.startswith(b"30 100\r\n/dev/pts/") or b"\r\n30 100\r\n/dev/pts/" in seen
        await box.send(job, b"exit()\n")
        await _until(box, job, None)
        assert (await box.poll(job)).status == 0


async def _until(box: Sandbox, job: int, wanted: bytes | None) -> bytes:
    """What a job prints until that matches `wanted`, or (None) until it has ended."""
    seen = b""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        state = await box.poll(job, wait=1)
        seen += state.output
        if re.search(wanted, seen, re.DOTALL) if wanted else not state.running:
            return seen
    raise AssertionError(seen)
