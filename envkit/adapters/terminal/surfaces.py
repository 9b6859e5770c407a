"""What an agent could read in a sandbox, for the guards that scan it."""

from __future__ import annotations

from envkit.adapters.terminal.sandbox import FileProblem, Sandbox
from envkit.adapters.terminal.text import printable

_FILES, _BYTES = 500, 4 << 20


async def visible(sandbox: Sandbox) -> dict[str, bytes]:
    """The workspace's regular files and the shell's environment, by place; the largest left out.

    What `find` says is the agent's claim; that is good enough here, where nothing is judged by it.
    """
    environment = await sandbox.shell("env -0", timeout=30, limit=1 << 16)
    listed = await sandbox.run(["find", ".", "-type", "f", "-print0"], timeout=30, limit=1 << 20)
    found = {"environment": environment.stdout}
    room = _BYTES
    for name in sorted(filter(None, listed.stdout.split(b"\0")))[:_FILES]:
        content = await _content(sandbox, name, room)
        if content is not None:
            found[f"files/{printable(name.removeprefix(b'./'))}"] = content
            room -= len(content)
    return found


async def _content(sandbox: Sandbox, name: bytes, room: int) -> bytes | None:
    try:
        return await sandbox.read(name.decode(), limit=room)
    except (FileProblem, UnicodeDecodeError):  # gone, over the limit, or not to be named in a frame
        return None
