"""A process of its own that outlives the runner by a few seconds, to remove what it leaves.

It holds the reading end of a pipe whose writing end only the runner has. However the runner dies,
the pipe ends; as a second sign the runner's pid and start time are looked up every second, because
a forked child may hold the pipe open. Run as a script: it imports nothing of envkit.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_LOOK_SECONDS = 1.0
_QUIET_SECONDS = 3.0  # an engine may finish a creation after its client has died
_MOST_SECONDS = 60.0
_CHUNK = 65_536


def started(pid: int) -> str | None:
    """A living process's start time in clock ticks; None where there is none, or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


class Watch:
    """What the runner said about itself and what it made."""

    def __init__(self) -> None:
        self.pid, self.start = 0, ""
        self.label = ""
        self.docker = False
        self.processes: dict[int, str] = {}
        self.folders: list[str] = []
        self.done = False

    def hear(self, line: bytes) -> None:
        """Take one line of JSON from the runner."""
        said = json.loads(line)
        if "owner" in said:
            self.pid, self.start, self.label = said["owner"]
        self.docker = self.docker or said.get("docker", False)
        if "process" in said:
            pid, start = said["process"]
            self.processes[pid] = start
        if "gone" in said:
            self.processes.pop(said["gone"], None)
        self.folders += said.get("folders", [])
        self.done = self.done or said.get("done", False)

    def owner_lives(self) -> bool:
        """Whether the runner is still there."""
        return not self.pid or started(self.pid) == self.start


def wait(watch: Watch) -> None:
    """Return when the runner is done, or dead."""
    rest = b""
    while not watch.done and watch.owner_lives():
        if not select.select([0], [], [], _LOOK_SECONDS)[0]:
            continue
        data = os.read(0, _CHUNK)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            watch.hear(line)


def sweep(watch: Watch) -> None:
    """Remove what is left, until nothing has turned up for a while."""
    deadline = time.monotonic() + _MOST_SECONDS
    quiet = time.monotonic()
    client: Any = None
    while time.monotonic() < min(deadline, quiet + _QUIET_SECONDS):
        found = sweep_processes(watch)
        if watch.docker:
            try:
                client = client or _engine()
                found = remove_containers(client, [f"{watch.label}"]) or found
            except Exception:  # noqa: BLE001 - whatever the engine does, try again until the end
                client, found = None, True
        if found:
            quiet = time.monotonic()
        time.sleep(0.1)


def sweep_processes(watch: Watch) -> bool:
    """Kill the sandboxes that are processes, and remove their control groups."""
    found = False
    for pid, start in watch.processes.items():
        if started(pid) == start:
            found = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    for folder in watch.folders:
        with contextlib.suppress(OSError):
            for inside in Path(folder, "cgroup.procs").read_text().split():
                os.kill(int(inside), signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    return found


def _engine() -> Any:
    import docker

    return docker.from_env(timeout=20)


def remove_containers(client: Any, labels: list[str]) -> bool:
    """Remove the containers that carry a label; whether there was one."""
    found = client.api.containers(all=True, filters={"label": labels})
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda one: _remove(client, one["Id"]), found))
    return bool(found)


def _remove(client: Any, name: str) -> None:
    import docker

    with contextlib.suppress(docker.errors.APIError):  # gone, or going
        client.api.remove_container(name, force=True, v=True)


def main() -> None:
    """Wait for the runner's end and clean up after it."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watch = Watch()
    wait(watch)
    if not watch.done:
        sweep(watch)
    sys.exit(0)


if __name__ == "__main__":
    main()
