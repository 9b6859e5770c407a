"""The runner's side of the reaper, and the cleaning up after runners that had none."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from . import owner, reaper
from .cgroup import dead_folders


class Lifeline:
    """One reaper process for this process, shared by its pools."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._users = self._owner = 0

    def hold(self, *, docker: bool) -> None:
        """Start the reaper unless it runs, before anything is made that it would remove."""
        if self._owner != os.getpid():  # a fork has our state but its own life
            self._owner, self._users, self._process = os.getpid(), 0, None
        self._users += 1
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", reaper.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
            pid = os.getpid()
            label = f"{owner.LABEL}={owner.me()}"
            self.tell(owner=[pid, reaper.started(pid), label])
        self.tell(docker=docker)

    def tell(self, **facts: Any) -> None:
        """Add to what the reaper knows. A reaper that somebody killed is done without."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(json.dumps(facts).encode() + b"\n")
                self._process.stdin.flush()

    def release(self) -> None:
        """The last pool to let go ends the reaper."""
        self._users -= 1
        if self._users == 0 and self._process is not None:
            self.tell(done=True)
            process, self._process = self._process, None
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
            process.wait()


LIFELINE = Lifeline()


def clean() -> list[str]:
    """Remove containers and control groups whose owner is dead; what was removed.

    Owners on other machines, in other PID namespaces and on earlier boots can't be seen from here
    and are left alone, as is every container without envkit's label.
    """
    removed = []
    for folder in dead_folders():
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
            removed.append(folder)
    try:
        import docker
        from docker.errors import APIError, DockerException
    except ImportError:
        return removed
    try:
        client = docker.from_env()
        found = client.api.containers(all=True, filters={"label": owner.LABEL})
    except (DockerException, OSError):  # no engine: nothing of ours on it
        return removed
    for one in found:
        if owner.is_dead(one["Labels"][owner.LABEL]):
            with contextlib.suppress(APIError):
                client.api.remove_container(one["Id"], force=True, v=True)
                removed.append(one["Id"])
    client.close()
    return removed
