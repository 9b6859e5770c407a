"""Who a container belongs to: a process named so that no later process can be mistaken for it."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from .reaper import started

LABEL = "envkit.owner"


@functools.cache
def _here() -> str:
    """This boot and PID namespace: where a pid means something to us."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"


def me() -> str:
    """This process: boot id, PID namespace, pid and start time."""
    return f"{_here()}/{os.getpid()}/{started(os.getpid())}"


def is_dead(owner: str) -> bool:
    """Whether `owner` is known to have ended; one that cannot be seen from here counts as alive."""
    where, _, start = owner.rpartition("/")
    where, _, pid = where.rpartition("/")
    return where == _here() and pid.isdigit() and started(int(pid)) != start
