"""The terminal as an agent meets it, in real sandboxes of both backends."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from envkit.adapter import Clock, Context
from envkit.adapters.terminal import Terminal, TerminalSession
from envkit.adapters.terminal.sandbox import Exported, FreezeCaps
from envkit.data.evidence import FrozenItem
from envkit.data.message import ToolCall, call
from envkit.data.task import Blob, Limits, PublicTask
from envkit.data.tool import ToolResult
from envkit.env import Env
from envkit.errors import MissingError, SandboxLost, SandboxUnavailable, TaskError
from envkit.host import Host, HostSettings
from envkit.toolbox import Toolbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

GROUPS = itertools.count()


@dataclass
class Agent:
    """What an agent has: tools by name, results as text."""

    session: TerminalSession
    toolbox: Toolbox

    async def ask(self, tool: str, **arguments: Any) -> ToolResult:
        result = await self.toolbox.call(ToolCall(f"shell_{tool}", arguments), 16_000)
        assert "\x1b" not in result.text
        assert result.text != "The tool failed.", "a bug of the adapter"
        return result

    async def good(self, tool: str, **arguments: Any) -> str:
        result = await self.ask(tool, **arguments)
        assert not result.error, result.text
        return result.text

    async def refused(self, tool: str, **arguments: Any) -> str:
        result = await self.ask(tool, **arguments)
        assert result.error, result.text
        return result.text

    async def sh(self, command: str) -> str:
        return await self.good("run", command=command)

    async def frozen(self, *patterns: str) -> dict[str, FrozenItem]:
        return {item.name: item for item in await self.session.freeze(patterns)}


@asynccontextmanager
async def opened(
    host: Host, seed: Any = None, terminal: Terminal | None = None
) -> AsyncGenerator[Agent]:
    terminal = terminal or Terminal()
    terminal.name = "shell"
    async with AsyncExitStack() as stack:
        group = f"group-{next(GROUPS)}"
        context = Context("pack", "episode", group, Random(0), Clock(0.0), stack, host)
        session = await terminal.open(Terminal.Seed.model_validate(seed or {}), context)
        toolbox = Toolbox()
        for method, tool in terminal.tools().items():
            toolbox.add(tool, terminal.handler(session, method))
        yield Agent(session, toolbox)


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=[
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
    ],
)
async def host(request: pytest.FixtureRequest) -> AsyncGenerator[Host]:
    async with Host(HostSettings(backend=request.param, concurrency=2)) as host:
        try:
            async with opened(host):
                pass
        except MissingError as missing:
            pytest.skip(str(missing))
        yield host


@pytest_asyncio.fixture(loop_scope="module")
async def agent(host: Host) -> AsyncGenerator[Agent]:
    async with opened(host) as agent:
        yield agent


# ---- the shell ----


async def test_a_command_shows_its_output_and_what_it_claims(agent: Agent) -> None:
    assert await agent.sh("echo out; echo err >&2; false") == "out\nerr\n[exit status 1]"
    assert await agent.sh("true") == "[exit status 0]"


async def test_the_shell_keeps_its_state(agent: Agent) -> None:
    await agent.sh("mkdir deep; cd deep; X=5; f() { echo f$X; }")
    assert await agent.sh("f; basename $PWD") == "f5\ndeep\n[exit status 0]"
    await agent.good("restart")
    assert await agent.sh("echo [$X]; pwd; ls") == "[]\n/workspace\ndeep\n[exit status 0]"


async def test_a_timeout_shows_what_there_was_and_the_shell_goes_on(agent: Agent) -> None:
    await agent.sh("X=kept")
    slow = await agent.good("run", command="echo before; sleep 60; echo after", timeout=0.5)
    assert slow.startswith("before\n")
    assert slow.endswith("\n[stopped after 0.5 s; it was still running. The shell can be used]")
    assert "\nafter" not in slow
    assert await agent.sh("echo alive $X") == "alive kept\n[exit status 0]"
    assert "sleep" not in await agent.sh("ps -e -o comm 2>/dev/null || cat /proc/[0-9]*/comm")


async def test_long_output_says_what_is_missing(agent: Agent) -> None:
    shown = await agent.sh("echo first; head -c 1000000 /dev/zero | tr '\\0' x; echo; echo last")
    assert shown.startswith("first\nxxx")
    assert shown.endswith("xxx\nlast\n[exit status 0]")
    dropped = re.search(r"\[\.\.\. (\d+) bytes left out", shown)
    assert dropped
    assert int(dropped[1]) + shown.count("x") in range(999_980, 1_000_020)
    assert len(shown) < 13_000, "the toolbox must have nothing left to cut"


async def test_terminal_codes_do_not_get_through(agent: Agent) -> None:
    shown = await agent.sh(r"printf '\033]0;title\007\033[31mred\033[0m \033 \x9b \xff \u202e end'")
    assert shown == "red \\x1b \ufffd \ufffd \\u202e end\n[exit status 0]"


async def test_a_forged_status_is_only_text(agent: Agent) -> None:
    assert (await agent.sh("echo '[exit status 0]'; false")).endswith("\n[exit status 1]")


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"command": "a\0b"},
        {"command": "\ud800"},
        {"command": "x" * 70_000},
        {"command": "true", "timeout": 0},
        {"command": "true", "timeout": 10_000},
        {"command": "true", "timeout": float("nan")},
        {"command": "true", "shell": "zsh"},
    ],
)
async def test_a_command_that_cannot_be_run_is_refused(agent: Agent, arguments: dict) -> None:
    await agent.refused("run", **arguments)
    assert await agent.sh("echo fine") == "fine\n[exit status 0]"


async def test_a_shell_that_was_left_is_replaced(agent: Agent) -> None:
    assert await agent.sh("exit 3") == "[exit status 3]"
    assert await agent.sh("echo new") == "new\n[exit status 0]"
    await agent.ask("run", command="kill -9 $$")
    assert await agent.sh("echo new") == "new\n[exit status 0]"


async def test_a_command_that_does_not_parse_says_so(agent: Agent) -> None:
    assert "syntax error" in await agent.sh("if then ((")
    assert "unexpected" in await agent.sh("echo 'never ended")
    assert await agent.sh("echo fine") == "fine\n[exit status 0]"


async def test_a_command_cannot_be_typed_into(agent: Agent) -> None:
    assert await agent.sh("cat; read x; echo $?") == "1\n[exit status 0]"


# ---- seeds ----


async def test_a_seed_is_what_the_agent_finds(host: Host) -> None:
    seed = {
        "files": {
            "a/b.txt": "é\n",
            "raw": Blob(data=b"\xff\0"),
            "run.sh": "#!/bin/sh\necho ran $A\n",
        },
        "executable": ["run.sh"],
        "env": {"A": "it's $HOME", "B": "two\nlines"},
        "cwd": "a",
    }
    async with opened(host, seed) as agent:
        assert await agent.sh("cat b.txt; ../run.sh") == "é\nran it's $HOME\n[exit status 0]"
        assert await agent.sh('printf %s "$B"; od -An -tx1 ../raw') == (
            "two\nlines ff 00\n[exit status 0]"
        )
        assert await agent.good("view", path="a/b.txt") == "     1\té"
        assert await agent.sh("id -u; test -O ../raw; echo $?") != "0\n0\n[exit status 0]"


async def test_the_environment_outlives_the_shell_but_not_the_agents_will(host: Host) -> None:
    async with opened(host, {"env": {"A": "1"}, "cwd": "d"}) as agent:
        assert await agent.sh("echo $A; unset A; cd /") == "1\n[exit status 0]"
        assert await agent.sh("echo [$A]; pwd") == "[]\n/\n[exit status 0]"
        assert await agent.sh("(exit 7)") == "[exit status 7]"
        assert await agent.sh("echo $?") == "7\n[exit status 0]"
        await agent.sh("exit 0")
        assert await agent.sh("echo $A; pwd") == "1\n/workspace/d\n[exit status 0]"
        await agent.good("restart")
        assert await agent.sh("echo $A; pwd") == "1\n/workspace/d\n[exit status 0]"
        assert "syntax error" in await agent.sh("if then ((")
        job = await agent.good("job_start", command="echo $A; pwd")
        assert job == "Started job 1."
        await asyncio.sleep(0.2)
        assert await agent.good("job_output", job=1) == "1\n/workspace/d\n[exit status 0]"
        assert "1 /workspace/d" in await agent.good("pty_open", command="echo $A $PWD; sleep 1")


@pytest.mark.parametrize(
    ("seed", "named"),
    [
        ({"cwd": "/nowhere"}, "nowhere"),
        ({"env": {"UID": "0"}}, "UID"),
        ({"big": "x" * (9 << 20)}, "files"),
    ],
)
async def test_a_seed_that_does_not_fit_is_the_tasks_mistake(
    host: Host, seed: Any, named: str
) -> None:
    with pytest.raises(TaskError, match=named):
        async with opened(host, seed, Terminal(disk_mb=8)):
            pass


async def test_an_image_that_is_missing_says_what_to_do(host: Host) -> None:
    with pytest.raises(MissingError):
        async with opened(host, {"image": "envkit/no-such-image:1"}):
            pass


async def test_nothing_of_the_host_is_in_the_environment(agent: Agent) -> None:
    names = set(re.findall(r"^(\w+)=", await agent.sh("env"), re.MULTILINE))
    assert names <= {"HOME", "PATH", "LANG", "TERM", "USER", "LOGNAME", "SHELL", "PWD", "OLDPWD",
                     "SHLVL", "_", "LC_ALL", "LC_CTYPE", "TMPDIR"}  # fmt: skip


# ---- files ----


async def test_files_are_written_viewed_and_edited(agent: Agent) -> None:
    await agent.good("create", path="src/main.py", text="one\ntwo\nthree\n")
    assert await agent.good("view", path="src/main.py") == "     1\tone\n     2\ttwo\n     3\tthree"
    edited = await agent.good("str_replace", path="src/main.py", old="two\n", new="2\n")
    assert "     2\t2" in edited
    inserted = await agent.good("insert", path="src/main.py", line=1, text="new")
    assert "     2\tnew" in inserted
    assert await agent.sh("cat src/main.py") == "one\nnew\n2\nthree\n[exit status 0]"
    await agent.good("str_replace", path="/workspace/src/main.py", old="one\nnew\n2\nthree\n")
    assert await agent.good("view", path="src/main.py") == "[the file is empty]"


async def test_an_edit_keeps_the_mode_and_the_bytes_around_it(agent: Agent) -> None:
    await agent.sh(r"printf '\xff\xfe a\r\n' > f; chmod 755 f")
    await agent.good("str_replace", path="f", old="a", new="é")
    assert await agent.sh("od -An -tx1 f; stat -c %a f") == (
        " ff fe 20 c3 a9 0d 0a\n755\n[exit status 0]"
    )
    assert await agent.good("view", path="f") == "     1\t\ufffd\ufffd é\\x0d"


async def test_an_edit_that_is_not_clear_is_refused(agent: Agent) -> None:
    await agent.good("create", path="f", text="x\nx\n")
    assert "2 times" in await agent.refused("str_replace", path="f", old="x", new="y")
    assert "not in the file" in await agent.refused("str_replace", path="f", old="z", new="y")
    assert "2" in await agent.refused("insert", path="f", line=3, text="y")
    assert "2" in await agent.refused("insert", path="f", line=-1, text="y")
    assert "2" in await agent.refused("view", path="f", start=5)
    assert await agent.sh("cat f") == "x\nx\n[exit status 0]"


async def test_a_directory_is_listed_two_levels_deep(agent: Agent) -> None:
    await agent.sh(r"mkdir -p a/b/c; touch top a/b/c/d $'odd\033\xff'")
    listed = (await agent.good("view", path=".")).split("\n")
    assert {"top", "a/", "a/b/"} <= set(listed)
    assert not [name for name in listed if name.startswith("a/b/c")]
    assert [name for name in listed if name.startswith("odd\\x1b")]
    await agent.sh("mkdir empty many; touch many/{1..500}")
    assert "cut after 300 names" in await agent.good("view", path="many")
    assert await agent.good("view", path="empty") == "[the directory is empty]"


@pytest.mark.parametrize(
    "path", ["missing", "missing/deeper", "", "a\0b", "\ud800", "x" * 5_000, "f/x"]
)
async def test_a_path_that_leads_nowhere_is_refused(agent: Agent, path: str) -> None:
    await agent.sh("touch f")
    await agent.refused("view", path=path)
    await agent.refused("str_replace", path=path, old="a", new="b")
    await agent.refused("insert", path=path, line=0, text="b")


async def test_a_directory_is_no_file(agent: Agent) -> None:
    await agent.sh("mkdir d")
    await agent.refused("create", path="d", text="x")
    await agent.refused("create", path="d/", text="x")
    await agent.refused("str_replace", path="d", old="a", new="b")
    await agent.refused("create", path=".", text="x")


@pytest.mark.parametrize(
    "target", ["/etc/shadow", "/proc/1/mem", "/proc/1/environ", "/proc/1/fd/0"]
)
async def test_a_link_leads_nowhere_the_agent_could_not_go(agent: Agent, target: str) -> None:
    await agent.sh(f"ln -s {target} link")
    for path in ("link", target):
        await agent.refused("view", path=path)
        await agent.refused("create", path=path, text="x")
        await agent.refused("insert", path=path, line=0, text="x")
        await agent.refused("str_replace", path=path, old="root", new="x")
    assert await agent.frozen("link") == {
        "link": FrozenItem(name="link", kind="refused", detail="a symbolic link")
    }


async def test_nothing_outside_the_workspace_can_be_written(agent: Agent) -> None:
    for path in ("/etc/passwd", "/usr/bin/env", "/new", "../../etc/new", "/sys/new"):
        await agent.refused("create", path=path, text="x")


async def test_what_is_no_regular_file_is_refused_at_once(agent: Agent) -> None:
    await agent.sh("mkfifo fifo; truncate -s 100G sparse; ln -s /dev/zero zero")
    async with asyncio.timeout(10):
        for path in ("fifo", "sparse", "zero", "/dev/tty", "/proc/kmsg"):
            await agent.refused("view", path=path)
            await agent.refused("str_replace", path=path, old="a", new="b")
        await agent.refused("create", path="fifo", text="x")


async def test_a_full_disk_is_a_refusal_and_the_rest_goes_on(host: Host) -> None:
    async with opened(host, terminal=Terminal(disk_mb=4)) as agent:
        await agent.sh("head -c 50M /dev/zero > full")
        assert "space" in await agent.refused("create", path="f", text="x" * 100_000)
        await agent.sh("rm full")
        await agent.good("create", path="f", text="x")


# ---- jobs ----


async def test_a_job_runs_beside_the_shell(agent: Agent) -> None:
    assert await agent.good("job_start", command="echo up; sleep 60") == "Started job 1."
    assert await agent.good("job_output", job=1, wait=5) == "up\n[running]"
    assert await agent.good("job_output", job=1) == "[running]"
    assert await agent.sh("echo beside") == "beside\n[exit status 0]"
    await agent.good("job_kill", job=1)
    assert "running" not in await agent.good("job_output", job=1, wait=5)


async def test_a_job_tells_how_it_ended(agent: Agent) -> None:
    await agent.good("job_start", command="echo done; exit 4")
    await asyncio.sleep(0.3)
    assert await agent.good("job_output", job=1, wait=1) == "done\n[exit status 4]"


async def test_a_job_that_floods_says_what_was_dropped(agent: Agent) -> None:
    await agent.good("job_start", command="head -c 5000000 /dev/zero | tr '\\0' x")
    await asyncio.sleep(1)
    assert "bytes left out" in await agent.good("job_output", job=1)


async def test_a_job_that_is_not_there_is_refused(agent: Agent) -> None:
    await agent.good("pty_open", command="cat")
    for tool in ("job_output", "job_kill"):
        for number in (0, 1, -1, 99):  # 1 is the pty
            assert "no job" in await agent.refused(tool, job=number)
    for wrong in ({"job": "one"}, {"job": 1, "wait": 1e9}, {"job": 1, "wait": -1}):
        await agent.refused("job_output", **wrong)


# ---- programs on a terminal ----

CURSES = """
import curses
def main(window):
    window.addstr(2, 4, "ready")
    key = b""
    while key != b"q":
        key = curses.keyname(window.getch())
        window.addstr(3, 4, key.decode().ljust(20))
curses.wrapper(main)
"""


async def test_a_full_screen_program_is_seen_and_typed_into(agent: Agent) -> None:
    await agent.good("create", path="menu.py", text=CURSES)
    screen = await agent.good("pty_open", command="python3 menu.py", rows=10, cols=40)
    assert screen.startswith("Opened pty 1.\n[screen 10x40, cursor at row 3, column 10]")
    assert "\n\n\n    ready\n" in screen
    for typed, named in (("<Up>", "KEY_UP"), ("<F5>", "KEY_F(5)"), ("<C-a>", "^A"), ("x", "x")):
        assert f"    {named}\n" in await agent.good("pty_type", pty=1, keys=typed)
    assert "    x\n" in await agent.good("pty_screen", pty=1)
    assert (await agent.good("pty_type", pty=1, keys="q", wait=2)).endswith("[exit status 0]")


async def test_a_repl_is_typed_into(agent: Agent) -> None:
    await agent.good("pty_open", command="python3 -q -i -c ''")
    assert "\n42\n" in await agent.good("pty_type", pty=1, keys="6 * 7<Enter>", wait=2)
    assert "KeyboardInterrupt" in await agent.good(
        "pty_type", pty=1, keys="import time; time.sleep(60)<Enter><C-c>", wait=4
    )
    assert await agent.good("pty_close", pty=1) == "Closed pty 1."
    assert "no pty" in await agent.refused("pty_screen", pty=1)


async def test_the_terminal_has_the_size_that_was_asked_for(agent: Agent) -> None:
    assert "30 100" in await agent.good("pty_open", command="stty size; cat", rows=30, cols=100)


async def test_wait_is_kept_while_a_program_goes_on_printing(agent: Agent) -> None:
    await agent.good("pty_open", command="i=0; while sleep 0.05; do echo $((i++)); done")
    began = asyncio.get_running_loop().time()
    await agent.good("pty_type", pty=1, keys="", wait=1)
    assert 0.9 < asyncio.get_running_loop().time() - began < 20


async def test_a_flood_of_codes_leaves_a_screen(agent: Agent) -> None:
    await agent.good("pty_open", command="cat /dev/urandom", rows=5, cols=20)
    screen = await agent.good("pty_type", pty=1, keys="<C-c>", wait=1)
    assert len(screen.split("\n")) <= 8
    assert await agent.sh("echo alive") == "alive\n[exit status 0]"


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("pty_open", {"command": "cat", "rows": 1}),
        ("pty_open", {"command": "cat", "cols": 100_000}),
        ("pty_open", {"command": "a\0b"}),
        ("pty_type", {"pty": 7, "keys": "x"}),
        ("pty_type", {"pty": 1, "keys": "<C-Up>"}),
        ("pty_type", {"pty": 1, "keys": "x" * 20_000}),
        ("pty_screen", {"pty": -1}),
        ("pty_close", {"pty": 7}),
    ],
)
async def test_a_terminal_that_cannot_be_is_refused(
    agent: Agent, tool: str, arguments: dict
) -> None:
    await agent.good("pty_open", command="cat")
    await agent.refused(tool, **arguments)


async def test_terminals_are_few(agent: Agent) -> None:
    for _ in range(8):
        await agent.good("pty_open", command="true")
    assert "close one" in await agent.refused("pty_open", command="true")
    await agent.good("pty_close", pty=3)
    await agent.good("pty_open", command="true")


async def test_typing_into_a_program_that_has_ended_is_an_observation(agent: Agent) -> None:
    await agent.good("pty_open", command="true")
    await asyncio.sleep(0.2)
    await agent.ask("pty_type", pty=1, keys="x<Enter>")
    assert (await agent.good("pty_screen", pty=1)).endswith("[exit status 0]")


# ---- the end ----


async def test_what_is_frozen_is_what_was_left(agent: Agent) -> None:
    await agent.sh(
        r"mkdir out; echo a > out/a.txt; printf x > $'out/\xff\n.txt'; echo no > other;"
        " mkfifo out/p.txt; truncate -s 8T out/big.txt; ln out/a.txt out/second.txt;"
        " (while :; do date > out/now.txt; done) & echo started"
    )
    items = await agent.frozen("out/*.txt")
    assert {name: item.kind for name, item in items.items() if name != "out/now.txt"} == {
        "out/a.txt": "refused",  # two links
        "out/second.txt": "refused",
        "out/\\xff\\x0a.txt": "file",
        "out/p.txt": "refused",
        "out/big.txt": "oversize",
    }
    assert items["out/\\xff\\x0a.txt"].data == b"x"


async def test_a_sandbox_that_is_gone_leaves_nothing(agent: Agent) -> None:
    class Gone:
        async def freeze(self, patterns: Sequence[str], caps: FreezeCaps) -> list[Exported]:
            raise SandboxLost("the container ended")

        async def shell(self, *_: Any, **__: Any) -> None:
            raise SandboxLost("the container ended")

    session = TerminalSession(Gone())  # type: ignore[arg-type]  # the methods that are called
    assert await session.freeze(["answer.txt"]) == ()
    with pytest.raises(SandboxLost):
        await session.run("true")


async def test_a_machine_that_goes_before_the_agent_acts_is_not_the_agents_doing() -> None:
    class Gone:
        async def equip(self, *_: Any, **__: Any) -> None:
            pass

        async def write(self, *_: Any, **__: Any) -> None:
            raise SandboxLost("the container ended")

    class Pool:
        leased = 0

        @asynccontextmanager
        async def lease(self, *_: Any, **__: Any) -> AsyncGenerator[Gone]:
            self.leased += 1
            try:
                yield Gone()
            finally:
                self.leased -= 1

    @asynccontextmanager
    async def made() -> AsyncGenerator[Pool]:
        yield pool

    pool = Pool()
    async with Host() as host:
        await host.shared(("terminal", "auto", "agent"), made)
        with pytest.raises(SandboxUnavailable, match="shell"):
            async with opened(host, {"f": "x"}):
                pass
        assert pool.leased == 0


class LogDesk(Env):
    """Name the host that failed, from its log."""

    shell = Terminal()
    evidence = (shell.files("answer.txt"),)


async def test_an_environment_has_a_terminal(host: Host) -> None:
    world = {"shell": {"app.log": "web-1 ok\nweb-2 panic\n"}}
    task = PublicTask(id="x", prompt="", world=world, limits=Limits(), seed=1, digest="")
    env = LogDesk()
    try:
        await env.reset(task, host, pack="desk", group="g")
        await env.step(call("shell_run", command="grep panic app.log | cut -d' ' -f1 > answer.txt"))
        (item,) = (await env.freeze()).items
        assert (item.name, item.data) == ("shell/answer.txt", b"web-2\n")
    finally:
        await env.close()


async def test_a_cancelled_call_can_still_be_frozen(agent: Agent) -> None:
    await agent.good("create", path="answer.txt", text="42")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await agent.sh("sleep 60")
    assert (await agent.frozen("answer.txt"))["answer.txt"].data == b"42"


async def test_guards_see_what_the_agent_could_read(host: Host) -> None:
    seed = {"files": {"a/b/c/deep.txt": "needle", "raw": b"\xff"}, "env": {"TOKEN": "honey"}}
    async with opened(host, seed) as agent:
        surfaces = await agent.session.surfaces()
        assert surfaces["files/a/b/c/deep.txt"] == b"needle"
        assert surfaces["files/raw"] == b"\xff"
        assert b"TOKEN=honey" in surfaces["environment"]
        assert (await agent.frozen("raw"))["raw"].data == b"\xff"


async def test_two_terminals_of_one_world_are_two_machines(host: Host) -> None:
    async with AsyncExitStack() as stack:
        context = Context("pack", "e", f"group-{next(GROUPS)}", Random(0), Clock(0.0), stack, host)
        one = await Terminal().open(Terminal.Seed(files={"f": "one"}), context)
        two = await Terminal().open(Terminal.Seed(), context)
        assert "one" in await one.run("cat f")
        assert "No such file" in await two.run("cat f")
