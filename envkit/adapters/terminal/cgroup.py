"""Limits for sandboxes that are plain processes: control groups, version 1 or 2, where root."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

from . import owner
from .sandbox import SandboxSpec

_ROOT = Path("/sys/fs/cgroup")
_PARENT = "envkit"
_PERIOD = 100_000  # microseconds
_numbers = itertools.count(1)  # of this process, whatever pools it has


def _unified() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


def _limits(spec: SandboxSpec) -> dict[str, dict[str, str]]:
    """Controller: file: value. Version 2 has one folder for all controllers."""
    memory, quota = str(spec.memory_mb << 20), int(spec.cpus * _PERIOD)
    if _unified():
        return {
            "": {
                "memory.max": memory,
                "memory.swap.max": "0",
                "pids.max": str(spec.pids),
                "cpu.max": f"{quota} {_PERIOD}",
            }
        }
    return {
        "memory": {"memory.limit_in_bytes": memory},
        "pids": {"pids.max": str(spec.pids)},
        "cpu": {"cpu.cfs_quota_us": str(quota), "cpu.cfs_period_us": str(_PERIOD)},
    }


class Group:
    """The control group of one sandbox."""

    def __init__(self, folders: list[Path]) -> None:
        self.folders = folders

    @classmethod
    def make(cls, spec: SandboxSpec) -> Group | None:
        """Folders with `spec`'s limits written; None where we may not."""
        made: list[Path] = []
        name = f"{owner.me().replace('/', '_')}_{next(_numbers)}"
        try:
            for controller, limits in _limits(spec).items():
                folder = _ROOT / controller / _PARENT / name
                folder.mkdir(parents=True)
                made.append(folder)
                if _unified():
                    _delegate()
                for file, value in limits.items():
                    # Swap accounting is often compiled out; a missing file limits nothing more.
                    with contextlib.suppress(FileNotFoundError):
                        (folder / file).write_text(value)
        except OSError:
            cls(made).remove()
            return None
        return cls(made)

    def join(self, pid: int) -> None:
        """Move a process in; what it forks follows. Raises OSError."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def remove(self) -> bool:
        """Remove the folders; false while a process is left in one."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                folder.rmdir()
        return not any(folder.exists() for folder in self.folders)


def _delegate() -> None:
    for folder in (_ROOT, _ROOT / _PARENT):
        (folder / "cgroup.subtree_control").write_text("+memory +pids +cpu")


def dead_folders() -> list[str]:
    """The groups whose owner is dead."""
    parents = [_ROOT / _PARENT, *(_ROOT / name / _PARENT for name in ("memory", "pids", "cpu"))]
    found = []
    for parent in parents:
        for folder in parent.iterdir() if parent.is_dir() else ():
            if folder.is_dir() and owner.is_dead(folder.name.rpartition("_")[0].replace("_", "/")):
                found.append(os.fspath(folder))
    return found
