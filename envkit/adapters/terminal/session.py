"""One episode's terminal: the tools that an agent gets, over a leased sandbox."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from envkit.adapters.terminal.files import Files, refusals
from envkit.adapters.terminal.sandbox import FreezeCaps, Sandbox
from envkit.adapters.terminal.seed import seeded
from envkit.adapters.terminal.surfaces import visible
from envkit.adapters.terminal.text import (
    around,
    capped,
    encoded,
    ending,
    escape,
    insert_after,
    numbered,
    plain,
    printable,
    replace_once,
    report,
)
from envkit.data.evidence import FrozenItem
from envkit.data.score import Finding
from envkit.data.tool import tool
from envkit.door import Door
from envkit.errors import EngineLost, SandboxLost
from envkit.toolbox import ToolRefusal

if TYPE_CHECKING:
    from envkit.adapters.terminal.screen import TerminalScreen

PTYS = 8
"""Screens at once; each is kept on the host."""

Path = Annotated[str, Field(min_length=1, max_length=4_000)]
Command = Annotated[str, Field(max_length=64_000)]
Content = Annotated[str, Field(max_length=1_000_000)]
Keys = Annotated[str, Field(max_length=16_000)]
Timeout = Annotated[float, Field(gt=0, le=600)]
Wait = Annotated[float, Field(ge=0, le=60)]
Rows = Annotated[int, Field(ge=5, le=60)]
Columns = Annotated[int, Field(ge=20, le=200)]


class TerminalSession:
    """A persistent bash, a text editor, background jobs and PTY programs in one sandbox."""

    def __init__(
        self,
        sandbox: Sandbox,
        prelude: str = "",
        *,
        output: int = 12_000,
        door: Door | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._door = door
        self._output = output  # bytes that one call shows, head and tail
        self._prelude = prelude  # bash source that sets the seed's environment and directory
        self._files = Files(sandbox)
        self._jobs: set[int] = set()
        self._screens: dict[int, TerminalScreen] = {}

    @property
    def alerts(self) -> tuple[Finding, ...]:
        """The hosts that the agent asked for and was refused."""
        return self._door.alerts if self._door is not None else ()

    # ---- the shell ----

    @tool
    async def run(self, command: Command, timeout: Timeout = 30) -> str:
        """Run a command in a persistent bash shell: directory, variables and functions stay.

        The result is what it printed (stdout and stderr together; of long output the beginning and
        the end) and its exit status. It can't be typed into. A command that runs over `timeout` is
        stopped and what it printed until then is shown; use job_start for servers and long work,
        pty_open for programs that want a terminal.

        Args:
            command: bash source; several lines are fine
            timeout: seconds until it is stopped
        """
        source = seeded(self._prelude, plain(command, "command"))
        done = await self._sandbox.shell(source, timeout=timeout, limit=self._output)
        if done.timed_out:
            last = f"stopped after {timeout:g} s; it was still running. The shell can be used"
        else:
            last = ending(done.status)
        return report(capped(done.stdout + done.stderr, done.dropped), last)

    @tool
    async def restart(self) -> str:
        """Start the shell of `run` anew, in the first directory. Files and background jobs stay."""
        await self._sandbox.restart_shell()
        return "A new shell is ready."

    # ---- files ----

    @tool
    async def view(self, path: Path, start: int = 1, end: int = -1) -> str:
        """Show a text file with line numbers, or the names in a directory, two levels deep.

        Args:
            path: relative to the workspace (not to the shell's directory), or absolute
            start: the first line to show
            end: the last line to show; -1: the end of the file
        """
        try:
            content = await self._files.read(path)
        except ToolRefusal as no_file:
            return await self._files.names(path, no_file)
        return numbered(content, start, end, self._output)

    @tool
    async def create(self, path: Path, text: Content) -> str:
        """Write a file. Missing directories are made; a file that is there is replaced.

        Args:
            path: relative to the workspace, or absolute
            text: the whole content
        """
        await self._files.write(path, encoded(text))
        return f"Wrote {escape(path)}."

    @tool
    async def str_replace(self, path: Path, old: Content, new: Content = "") -> str:
        """Replace the one place in a file where `old` stands.

        Refused where it stands nowhere or more than once.

        Args:
            path: relative to the workspace, or absolute
            old: the text to replace, exactly as in the file, without line numbers
            new: what stands there afterwards
        """
        old_bytes, new_bytes = encoded(old), encoded(new)
        content, line = replace_once(await self._files.read(path), old_bytes, new_bytes)
        await self._files.write(path, content)
        return f"Replaced. Now it reads:\n{around(content, line, new_bytes)}"

    @tool
    async def insert(self, path: Path, line: int, text: Content) -> str:
        """Insert text into a file, as lines of their own after line `line`.

        Args:
            path: relative to the workspace, or absolute
            line: number of the line before them; 0: the beginning of the file
            text: the lines
        """
        inserted = encoded(text)
        content = insert_after(await self._files.read(path), line, inserted)
        await self._files.write(path, content)
        return f"Inserted. Now it reads:\n{around(content, line + 1, inserted)}"

    # ---- background jobs ----

    @tool
    async def job_start(self, command: Command) -> str:
        """Start a command in the background, in the first directory; see it with job_output.

        Args:
            command: bash source
        """
        job = await self._start(command, None)
        self._jobs.add(job)
        return f"Started job {job}."

    @tool
    async def job_output(self, job: int, wait: Wait = 0) -> str:
        """Show what a job printed since it was last looked at, and whether it still runs.

        Args:
            job: its number
            wait: seconds to wait for output, at most
        """
        _refuse_unknown("job", job, self._jobs)
        with refusals():
            state = await self._sandbox.poll(job, wait=wait, limit=self._output)
        last = "running" if state.running else ending(state.status)
        return report(capped(state.output, state.dropped), last)

    @tool
    async def job_kill(self, job: int) -> str:
        """Stop a background job and everything that it started.

        Args:
            job: its number
        """
        _refuse_unknown("job", job, self._jobs)
        with refusals():
            await self._sandbox.kill(job)
        return f"Stopped job {job}."

    # ---- programs on a terminal ----

    @tool
    async def pty_open(self, command: Command, rows: Rows = 24, cols: Columns = 80) -> str:
        """Start a program on a terminal (an editor, a debugger, a REPL) and show its screen.

        Args:
            command: bash source, run in the first directory
            rows: height of the screen
            cols: width of the screen
        """
        # pyte is loaded where a screen is first needed: most episodes need none
        from envkit.adapters.terminal.screen import TerminalScreen

        if len(self._screens) >= PTYS:
            raise ToolRefusal(f"{PTYS} programs are open; close one with pty_close.")
        pty = await self._start(command, (rows, cols))
        self._screens[pty] = TerminalScreen(rows, cols)
        return f"Opened pty {pty}.\n{await self._look(pty, 1.0)}"

    @tool
    async def pty_type(self, pty: int, keys: Keys, wait: Wait = 0.5) -> str:
        """Type into a program and show its screen afterwards.

        Text is typed as it stands. Keys are named in angle brackets: <Enter> <Esc> <Tab> <BS> <Del>
        <Up> <Down> <Left> <Right> <Home> <End> <PageUp> <PageDown> <F1> to <F12>, <C-c> for Ctrl
        and c, <M-x> for Alt and x, <lt> for a literal "<". Nothing is entered by itself: end a line
        with <Enter>.

        Args:
            pty: the program's number
            keys: what to type; may be empty, to wait only
            wait: seconds until the screen is shown, at most; it is shown earlier where it stood
                still for a quarter of that
        """
        _refuse_unknown("pty", pty, self._screens)
        typed = self._screens[pty].keys(keys)
        if typed:
            with refusals():
                await self._sandbox.send(pty, typed)
        return await self._look(pty, wait)

    @tool
    async def pty_screen(self, pty: int) -> str:
        """Show a program's screen as it is now.

        Args:
            pty: the program's number
        """
        _refuse_unknown("pty", pty, self._screens)
        return await self._look(pty, 0)

    @tool
    async def pty_close(self, pty: int) -> str:
        """Stop a program and close its terminal.

        Args:
            pty: the program's number
        """
        _refuse_unknown("pty", pty, self._screens)
        with refusals():
            await self._sandbox.kill(pty)
        del self._screens[pty]
        return f"Closed pty {pty}."

    # ---- the end, and what the guards see ----

    async def freeze(self, patterns: Sequence[str]) -> Sequence[FrozenItem]:
        """Kill what the agent started, then export what matches.

        A lost sandbox leaves nothing; with a lost engine there is nothing to grade: EngineLost.
        """
        try:
            exported = await self._sandbox.freeze(tuple(patterns), FreezeCaps())
        except EngineLost:
            raise
        except SandboxLost:  # the agent broke it: what it broke is missing from the evidence
            return ()
        return tuple(
            FrozenItem(name=printable(e.path), kind=e.kind, data=e.data, detail=escape(e.detail))
            for e in exported
        )

    async def surfaces(self) -> Mapping[str, bytes]:
        """The workspace's files as the agent could read them now, and its environment; bounded."""
        return await visible(self._sandbox)

    async def _start(self, command: str, pty: tuple[int, int] | None) -> int:
        source = plain(command, "command")
        with refusals():
            return await self._sandbox.start(f"{self._prelude}\n{source}".lstrip("\n"), pty=pty)

    async def _look(self, pty: int, wait: float) -> str:
        with refusals():
            return await self._screens[pty].follow(self._sandbox, pty, wait)


def _refuse_unknown(kind: str, number: int, known: Container[int]) -> None:
    if number not in known:
        raise ToolRefusal(f"There is no {kind} {number}.")
