"""The persistent bash."""

# ruff: noqa: D102, S108 - a test's name says what it shows; its paths are inside a sandbox
from __future__ import annotations

import asyncio
import re

import pytest

from envkit.adapters.terminal.sandbox import FileProblem, Sandbox

from .common import alive, gone, out

_CLOSE_ALL = 'for fd in $(seq 3 255); do eval "exec $fd>&-"; done 2>/dev/null; (exit 9)'
_CLOSE_STATUS = (
    "for fd in $(seq 3 255); do grep -qs 'flags:.*1$' /proc/$$/fdinfo/$fd"
    ' && eval "exec $fd>&-"; done; (exit 9)'
)


class Shell:
    """`shell` and `restart_shell`, and what an agent may try on them."""

    async def test_shell_keeps_folder_variables_and_functions(self, box: Sandbox) -> None:
        await out(box, "mkdir deep; cd deep; x=5; f() { echo f$1; }; export y=6; alias a='echo al'")
        assert await out(box, "basename $PWD; echo $x; f 7; bash -c 'echo $y'\na") == (
            "deep\n5\nf7\n6\nal"
        )

    async def test_shell_gives_status_and_keeps_it(self, box: Sandbox) -> None:
        assert (await box.shell("(exit 42)", timeout=10)).status == 42
        assert await out(box, "echo $?") == "42"

    async def test_shell_merges_the_streams_in_order(self, box: Sandbox) -> None:
        assert await out(box, "echo 1; echo 2 >&2; echo 3") == "1\n2\n3"

    async def test_shell_out_of_time_is_usable_and_keeps_its_variables(self, box: Sandbox) -> None:
        await out(box, "x=5; cd /tmp")
        done = await box.shell("echo before; sleep 60; echo after", timeout=0.5)
        assert done.timed_out
        assert done.status is None
        assert done.stdout.startswith(b"before\n")
        assert done.seconds < 3
        await gone(box, "sleep")
        assert await out(box, "echo $x $PWD") == "5 /tmp"

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
        done = await box.shell(command, timeout=0.2)
        assert done.timed_out
        assert await out(box, "sleep 0.1; ls") == ""
        assert (
            await out(box, "trap -p DEBUG; y=6; echo $y; shopt extdebug || :")
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
        await out(box, "cd /tmp")
        done = await box.shell(command, timeout=0.2)
        assert done.timed_out
        assert done.seconds < 4
        assert await out(box, "pwd") == "/tmp"
        await gone(box, "sleep")

    async def test_shell_after_exit_is_a_fresh_one(self, box: Sandbox) -> None:
        done = await box.shell("x=5; exit 3", timeout=10)
        assert (done.status, done.timed_out) == (3, False)
        assert await out(box, "echo [$x]") == "[]"
        assert (await box.shell("kill -9 $$", timeout=10)).status == -9
        assert (await box.shell("exec true", timeout=10)).status == 0
        await alive(box)

    async def test_shell_background_process_does_not_hold_the_call(self, box: Sandbox) -> None:
        done = await box.shell("sleep 5 & (sleep 0.2; echo late) & echo now", timeout=10)
        assert done.stdout == b"now\n"
        assert done.seconds < 3
        for _ in range(50):
            if "late" in await out(box, "jobs > /dev/null; true"):
                return
            await asyncio.sleep(0.1)
        raise AssertionError("what it said later never came")

    @pytest.mark.parametrize("reader", ["cat", "read line; echo $line", "python3 -i", "bash -s"])
    async def test_shell_programs_cannot_eat_commands(self, box: Sandbox, reader: str) -> None:
        done = await box.shell(reader, timeout=10)
        assert not done.timed_out
        await alive(box)

    async def test_shell_takes_any_command_text(self, box: Sandbox) -> None:
        for broken in ("if", "echo 'open", "cat <<EOF", "((", "}"):
            assert (await box.shell(broken, timeout=10)).status != 0 or broken == "cat <<EOF"
        assert len(await out(box, "cat <<'EOF' | wc -c\n" + "x" * 300_000 + "\nEOF")) >= 6
        assert await out(box, "echo é ☃") == "é ☃"
        with pytest.raises(FileProblem):
            await box.shell("echo \0", timeout=10)

    async def test_shell_one_at_a_time(self, box: Sandbox) -> None:
        many = await asyncio.gather(*(box.shell(f"echo {n}", timeout=10) for n in range(20)))
        assert [done.stdout for done in many] == [b"%d\n" % n for n in range(20)]

    async def test_shell_restart_throws_everything_away(self, box: Sandbox) -> None:
        await out(box, "x=1; cd /tmp; sleep 60 &")
        await box.restart_shell()
        assert await out(box, "echo [$x] $PWD") == "[] /workspace"

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
            # what the attack left running may speak later, on lines of its own
            assert re.findall(rb"(?m)^token (\d)$", done.stdout) == [b"%d" % number], done
            answered += 1
        assert answered >= 3

    async def test_shell_without_its_status_pipe_is_replaced_at_once(self, box: Sandbox) -> None:
        done = await box.shell(_CLOSE_STATUS, timeout=20)
        assert done.seconds < 5
        assert not done.timed_out
        await alive(box)

    async def test_shell_that_redefines_its_own_words_can_be_restarted(self, box: Sandbox) -> None:
        await box.shell("printf() { :; }; builtin() { :; }; eval() { :; }", timeout=0.3)
        await box.restart_shell()
        await alive(box)
