"""PID 1 of a container: makes a room of fresh namespaces for each lease, and nothing else.

It holds SYS_ADMIN so that the supervisor, which faces the agent, need not. It reads nothing: frames
pass by it on standard input, of which it only watches the end. A reset is a supervisor that exits:
the kernel kills what was in its PID namespace and drops the mounts with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
from typing import Any, NoReturn

from . import walls
from .process import Agent, complain
from .supervisor import RESET, Supervisor

_WATCH_SECONDS = 1.0  # how soon the end of standard input is seen while a supervisor hangs
_FORGETTABLE = walls.NOSUID | walls.NODEV
_ROOM = walls.NEWNS | walls.NEWIPC | walls.NEWUTS | walls.NEWNET | walls.NEWCGROUP
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_READ_ONLY = ("bus", "fs", "irq", "sys")


def main(config: dict[str, Any]) -> NoReturn:
    """Run in a container (`keeper`) or alone in namespaces that somebody else made (`direct`)."""
    environment = _environment(config)
    agent = Agent(config["uid"], environment, config["workspace"])
    if config["mode"] == "direct":
        _serve(config, agent, [])
    note = _prepare(config)
    if note:
        _serve(config, agent, [note])
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while True:
        walls.unshare(walls.NEWPID)
        pid = os.fork()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            os.close(home)
            _furnish(config)
            _serve(config, agent, [])
        walls.setns(home, walls.NEWPID)
        if _outlive(pid) != RESET:
            os._exit(1)


def _environment(config: dict[str, Any]) -> dict[str, str]:
    """The image's own environment, made neutral."""
    kept = {name: value for name, value in os.environ.items() if name not in ("HOSTNAME", "PWD")}
    home = config["workspace"]
    kept.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    kept.setdefault("LANG", "C.UTF-8")
    return {**kept, "HOME": home, "USER": "agent", "LOGNAME": "agent", "TERM": "dumb"}


def _outlive(pid: int) -> int:
    """Wait for a supervisor; kill it where the host has gone and it does not notice."""
    host = select.poll()
    host.register(0, 0)
    while True:
        signal.sigtimedwait([signal.SIGCHLD], _WATCH_SECONDS)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if host.poll(0):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os._exit(0)


def _prepare(config: dict[str, Any]) -> str:
    """Once per container: what every room inherits. Returns why rooms cannot be made, or ''."""
    try:
        walls.unshare(walls.NEWNS)
        walls.mount("none", "/", "none", walls.REC | walls.PRIVATE)
        with contextlib.suppress(OSError):  # no /sys at all is as good
            walls.detach("/sys")
        walls.mount("tmpfs", "/tmp", "tmpfs", _FORGETTABLE, "size=1m,mode=0755")
        _name_agent(config)
        walls.detach("/tmp")
        # A device node's times could be set by any writer, and would outlive the lease.
        lock = walls.REMOUNT | walls.BIND | walls.RDONLY | walls.NOSUID | walls.NOEXEC
        walls.mount("none", "/dev", "none", lock)
    except OSError as problem:
        return f"no namespaces in this container, so each lease makes a new one: {problem}"
    return ""


def _name_agent(config: dict[str, Any]) -> None:
    """Give the agent's user id a name, where the image has none for it."""
    uid, home = config["uid"], config["workspace"]
    rows = {
        "/etc/passwd": f"agent:x:{uid}:{uid}::{home}:/bin/bash\n",
        "/etc/group": f"agent:x:{uid}:\n",
    }
    for path, row in rows.items():
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        if f":{uid}:" in text:
            continue
        copy = "/tmp/" + os.path.basename(path)
        with open(copy, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text.rstrip("\n") + "\n" + row)
        walls.mount(copy, path, "none", walls.BIND)


def _furnish(config: dict[str, Any]) -> None:
    """In the new PID namespace: the other namespaces and everything writable, made anew."""
    walls.unshare(_ROOM)
    for path, size, mode in config["mounts"]:
        options = f"size={size},nr_inodes={config['inodes']},mode={mode}"
        if path == config["workspace"]:
            options += f",uid={config['uid']},gid={config['uid']}"
        walls.mount("tmpfs", path, "tmpfs", _FORGETTABLE, options)
    quiet = walls.NOSUID | walls.NOEXEC
    walls.mount("devpts", "/dev/pts", "devpts", quiet, "newinstance,ptmxmode=0666,mode=0620")
    walls.mount("mqueue", "/dev/mqueue", "mqueue", quiet | walls.NODEV | walls.RDONLY)
    walls.detach("/proc")
    # Group 0 sees all processes: the supervisor has no other right to.
    walls.mount("proc", "/proc", "proc", quiet | walls.NODEV, "hidepid=2,gid=0")
    for name in _READ_ONLY:
        _freeze(f"/proc/{name}")
    for path in config["masked"]:
        _mask(path)
    _loopback()
    socket.sethostname("sandbox")


def _freeze(path: str) -> None:
    flags = walls.NOSUID | walls.NODEV | walls.NOEXEC
    walls.mount(path, path, "none", walls.BIND | walls.REC)
    walls.mount("none", path, "none", walls.REMOUNT | walls.BIND | walls.RDONLY | flags)


def _mask(path: str) -> None:
    if os.path.isdir(path):
        walls.mount("tmpfs", path, "tmpfs", walls.RDONLY | _FORGETTABLE, "size=4k,mode=0555")
    elif os.path.exists(path):
        walls.mount("/dev/null", path, "none", walls.BIND)


def _loopback() -> None:
    """Bring up the new network namespace's only interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, struct.pack("16sh22x", b"lo", 0))
        flags = struct.unpack_from("16xh", answer)[0] | _IFF_UP
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags))


def _serve(config: dict[str, Any], agent: Agent, notes: list[str]) -> NoReturn:
    """Give up every right that is left over and become the supervisor."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # PID 1 ignores what it does not handle
    try:
        walls.hide_self()
        if config["uid"] is not None:
            walls.keep_capabilities(walls.SUPERVISOR_CAPABILITIES)
        walls.filter_calls()
        hello = {"notes": notes, "proof": prove(config)}
    except OSError as problem:
        complain(f"walls: {problem}")
    Supervisor(agent).serve(hello)
    raise AssertionError("a supervisor serves until it ends")


def prove(config: dict[str, Any]) -> dict[str, Any]:
    """What the host checks before anybody uses the room: that nothing is in it."""
    facts: dict[str, str] = {}
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            name, _, value = line.partition(":")
            facts[name] = value.strip()
    queues = 0
    for kind in ("shm", "msg", "sem"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/sysvipc/{kind}") as table:
            queues += len(table.readlines()) - 1
    left = [path for path, _, _ in config["mounts"] if os.listdir(path)]
    if os.path.isdir("/dev/mqueue"):
        queues += len(os.listdir("/dev/mqueue"))
    wanted = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid")
    return {
        "pid": os.getpid(),
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),
        "littered": left,
        "queues": queues,
        "free": {path: _room(path) for path, _, _ in config["mounts"]},
        **{name: facts.get(name, "") for name in wanted},
    }


def _room(path: str) -> int:
    facts = os.statvfs(path)
    return facts.f_bavail * facts.f_frsize
