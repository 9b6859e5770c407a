"""The file tools' way into a sandbox: what can't be done is an observation of the agent's."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from envkit.adapters.terminal.sandbox import FileProblem, Sandbox
from envkit.adapters.terminal.text import escape, plain, printable
from envkit.toolbox import ToolRefusal

_READ = 2 << 20  # bytes of a file that is viewed or edited
_ENTRIES = 300


@contextmanager
def refusals() -> Generator[None]:
    """What a sandbox says about files and jobs, told to the agent."""
    try:
        yield
    except FileProblem as problem:
        raise ToolRefusal(escape(str(problem))) from None


class Files:
    """Whole files of one sandbox, by the paths that an agent gives."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def read(self, path: str) -> bytes:
        """A regular file's bytes, up to 2 MB. Raises ToolRefusal."""
        with refusals():
            return await self._sandbox.read(plain(path, "path"), limit=_READ)

    async def write(self, path: str, content: bytes) -> None:
        """Create or replace a file. Raises ToolRefusal."""
        with refusals():
            await self._sandbox.write({plain(path, "path"): content})

    async def names(self, path: str, no_file: ToolRefusal) -> str:
        """The names in a directory; raises `no_file` where it is none."""
        try:
            names = await self._sandbox.listing(plain(path, "path"), limit=_ENTRIES)
        except FileProblem:
            raise no_file from None
        shown = [printable(name.encode("utf-8", "replace")) for name in names]
        if len(names) >= _ENTRIES:
            shown.append(f"[cut after {_ENTRIES} names; ls and find show more]")
        return "\n".join(shown) or "[the directory is empty]"
