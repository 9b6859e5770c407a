"""The bubblewrap backend: namespaces without an engine, one process tree per lease.

As root, every slot runs as an unprivileged user id of its own on the host; the workspace is a tmpfs
inside, so nothing the agent makes is ever a file of the host's. There is no reset: a used slot is
killed and another one is made meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Literal

from envkit.errors import MissingError, SandboxLost, SandboxUnavailable

from .cgroup import Group
from .channel import Channel
from .lifeline import LIFELINE
from .payload import BOOTSTRAP, payload
from .reaper import started
from .sandbox import WORKSPACE, SandboxSpec
from .slots import AGENT_UID, HELLO_SECONDS, check_hello, configuration

_FIRST_UID, _UIDS = 200_000, 60_000
_COMMAND = ["/usr/bin/python3", "-I", "-S", "-c", BOOTSTRAP]
# Waits for a line before bwrap starts: in its control group by then, it shows the agent no path.
_LAUNCHER = ["/bin/sh", "-c", 'read go; exec "$@"', "sh"]
_PASSWD = (
    "root:x:0:0:root:/root:/bin/bash\n"
    f"agent:x:{AGENT_UID}:{AGENT_UID}::{WORKSPACE}:/bin/bash\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
)
_GROUP = f"root:x:0:\nagent:x:{AGENT_UID}:\nnogroup:x:65534:\n"
_ETC = (
    "alternatives",
    "debian_version",
    "ld.so.cache",
    "localtime",
    "magic",
    "mime.types",
    "os-release",
    "terminfo",
)
_TOP = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_SIX_SECONDS = 6.0
_UNBOUNDED = (
    "bubblewrap: unbounded (no control group could be made, so memory and processes have no limit);"
    " one sandbox at a time"
)


class BubblewrapBackend:
    """Slots from `bwrap`; `connect` makes one."""

    name: Literal["docker", "bubblewrap"] = "bubblewrap"

    def __init__(self, bwrap: str) -> None:
        self._bwrap = bwrap
        self._limit = asyncio.Semaphore(2 * (os.cpu_count() or 1))
        probe = Group.make(SandboxSpec()) if os.getuid() == 0 else None
        if probe is not None:
            probe.remove()
        self._bounded = probe is not None
        self.notes: tuple[str, ...] = () if self._bounded else (_UNBOUNDED,)
        self.most_leases: int | None = None if self._bounded else 1

    @classmethod
    async def connect(cls) -> BubblewrapBackend:
        """Find bwrap. Raises MissingError where it is not installed, or may not make namespaces."""
        bwrap = shutil.which("bwrap")
        if bwrap is None:
            raise MissingError("bwrap is not installed; apt install bubblewrap")
        if not await asyncio.to_thread(Path(_COMMAND[0]).exists):
            raise MissingError(f"{_COMMAND[0]} is not installed; apt install python3")
        return cls(bwrap)

    async def open(self, spec: SandboxSpec) -> BubblewrapSlot:
        """Start one and check its proof. Raises SandboxUnavailable or MissingError."""
        config = configuration(spec, "direct")
        root = _root(spec.image)
        if spec.runtime is not None:
            raise MissingError("bubblewrap takes no runtime; use the docker backend for that")
        async with self._limit:
            slot = BubblewrapSlot()
            try:
                await slot.start(self._bwrap, spec, config, root, bounded=self._bounded)
                slot.channel.send_raw(payload(config))
                hello = await slot.channel.hello(HELLO_SECONDS)
                slot.notes = check_hello(hello, config)
            except (SandboxLost, OSError) as problem:
                said = slot.complaint()
                await slot.destroy()
                raise SandboxUnavailable(f"bwrap: {said or problem}") from None
            except BaseException:
                await slot.destroy()
                raise
        return slot

    async def aclose(self) -> None:
        """Nothing is held between slots."""


def _root(image: str | None) -> Path:
    """The folder whose /usr is shown. Raises MissingError."""
    if image is None:
        return Path("/")
    root = Path(image)
    if not root.is_absolute() or not (root / "usr").is_dir():
        raise MissingError(
            f"image {image!r} is not on this machine; bubblewrap takes a folder that holds an"
            " unpacked image (or none: the host's /usr); Docker takes image names"
        )
    if not (root / "usr/bin/python3").exists():
        raise MissingError(f"image {image!r} has no /usr/bin/python3, which the supervisor runs on")
    return root


class BubblewrapSlot:
    """One bwrap process and the namespaces it made."""

    def __init__(self) -> None:
        self.channel = Channel(multiplexed=False)
        self.notes: tuple[str, ...] = ()
        self.resets = False
        self._process: subprocess.Popen[bytes] | None = None
        self._group: Group | None = None
        self._claim: socket.socket | None = None

    async def start(
        self, bwrap: str, spec: SandboxSpec, config: dict[str, Any], root: Path, *, bounded: bool
    ) -> None:
        """Start bwrap under its limits and connect the channel; nothing runs inside yet."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        files = [_pipe_holding(text.encode()) for text in (_PASSWD, _GROUP)]
        argv = [*_LAUNCHER, bwrap, *_arguments(config, root, files), *_COMMAND]
        nothing: dict[str, str] = {}
        uid = None
        if os.getuid() == 0:
            uid, self._claim = _claim_uid()
        try:
            # In this thread: bwrap dies with the thread that started it.
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a few milliseconds; see above
                argv,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                pass_fds=files,
                start_new_session=True,
                env=nothing,
                cwd="/",
                user=uid,
                group=uid,
                extra_groups=None if uid is None else [],
            )
        finally:
            theirs.close()
            for descriptor in files:
                os.close(descriptor)
        LIFELINE.tell(process=[self._process.pid, started(self._process.pid)])
        if bounded:
            self._group = Group.make(spec)
            if self._group is None:
                raise OSError("no control group could be made")
            LIFELINE.tell(folders=[str(folder) for folder in self._group.folders])
            self._group.join(self._process.pid)
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self.channel, sock=ours)
        self.channel.send_raw(b"\n")

    def complaint(self) -> str:
        """What bwrap or the supervisor said on stderr before it ended."""
        if self._process is None or self._process.stderr is None:
            return ""
        os.set_blocking(self._process.stderr.fileno(), False)
        said = self._process.stderr.read() or b""
        return said.decode("utf-8", "replace").strip()[-300:]

    async def reset(self) -> None:
        """Not here: a used slot is replaced."""
        raise SandboxLost("a bubblewrap sandbox is used once")

    async def engine_lost(self) -> bool:
        """There is no engine."""
        return False

    async def destroy(self) -> None:
        """Kill it and wait until its processes, its control group and its user id are free."""
        self.channel.fail("it was removed")
        process = self._process
        if process is not None:
            process.kill()
            await asyncio.shield(asyncio.to_thread(self._bury, process))
        if self._claim is not None:
            self._claim.close()

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
        LIFELINE.tell(gone=process.pid)
        deadline = time.monotonic() + _SIX_SECONDS
        while self._group is not None and not self._group.remove() and time.monotonic() < deadline:
            time.sleep(0.005)


def _pipe_holding(data: bytes) -> int:
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    return reader


def _claim_uid() -> tuple[int, socket.socket]:
    """A user id no other slot of any runner has; the socket's name is the lock, freed at death."""
    first = _FIRST_UID + secrets.randbelow(_UIDS)
    for uid in range(first, _FIRST_UID + 2 * _UIDS):
        claim = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            claim.bind(f"\0envkit-uid-{uid}")
            return uid, claim
        claim.close()
    raise OSError("no free user id for a sandbox")


def _arguments(config: dict[str, Any], root: Path, files: list[int]) -> list[str]:
    """Everything bwrap is told, in the order it does it."""
    arguments = (
        "--unshare-all --unshare-user --disable-userns --new-session --die-with-parent --as-pid-1"
        f" --cap-drop ALL --clearenv --hostname sandbox --uid {AGENT_UID} --gid {AGENT_UID}"
        " --setenv PATH /usr/bin:/usr/sbin:/bin:/sbin --setenv LANG C.UTF-8"
    ).split()
    arguments += _system(root)
    for descriptor, name in zip(files, ("passwd", "group"), strict=True):
        arguments += ["--perms", "0444", "--ro-bind-data", str(descriptor), f"/etc/{name}"]
    arguments += "--proc /proc --dev /dev --dir /var/tmp".split()
    for path, size, mode in config["mounts"]:
        arguments += ["--size", str(size), "--perms", mode, "--tmpfs", path]
    for path in config["masked"]:
        if Path(path).is_dir():
            arguments += ["--tmpfs", path, "--remount-ro", path]
        elif Path(path).exists():
            arguments += ["--ro-bind", "/dev/null", path]
    return [*arguments, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", WORKSPACE, "--"]


def _system(root: Path) -> list[str]:
    """The programs, read-only: /usr without what is local to this machine, and a little of /etc."""
    arguments = ["--ro-bind", str(root / "usr"), "/usr"]
    for name in _TOP:
        top = root / name
        if top.is_symlink():
            arguments += ["--symlink", str(top.readlink()), f"/{name}"]
        elif top.is_dir():
            arguments += ["--ro-bind", str(top), f"/{name}"]
    for folder in _hidden(root):
        arguments += ["--tmpfs", folder, "--remount-ro", folder]
    arguments += "--perms 0755 --dir /etc --perms 0755 --dir /var".split()
    for name in _ETC:
        arguments += ["--ro-bind-try", str(root / "etc" / name), f"/etc/{name}"]
    return arguments


def _hidden(root: Path) -> list[str]:
    """What is in /usr but not the distribution's: local software, installed Python packages."""
    patterns = ("usr/local", "usr/lib/python3*/dist-packages", "usr/lib/python3*/site-packages")
    return sorted(
        "/" + str(found.relative_to(root)) for one in patterns for found in root.glob(one)
    )
