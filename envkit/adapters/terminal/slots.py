"""What a backend gives the pool: slots, and the checks that every one of them passes."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from envkit.errors import SandboxUnavailable, UsageError

from .channel import Channel, Header
from .sandbox import WORKSPACE, SandboxSpec

AGENT_UID = 1000
HELLO_SECONDS = 30.0
_RESERVED_MB = 64  # of the memory limit: the supervisor lives in it whatever the agent fills
_SCRATCH_MB = 64
_INODES = 65_536
_SIX_CAPABILITIES = "00000000000000eb"
_NONE = "0000000000000000"
# Windows onto the host or the past: masked as engines do, plus counters that outlive a lease.
MASKED = tuple(
    f"/proc/{name}"
    for name in (
        "acpi asound buddyinfo cgroups config.gz diskstats interrupts iomem ioports kallsyms kcore"
        " key-users keys kmsg kpagecgroup kpagecount kpageflags latency_stats locks pagetypeinfo"
        " pressure sched_debug schedstat scsi slabinfo softirqs sysrq-trigger timer_list"
        " vmallocinfo vmstat zoneinfo"
    ).split()
)


class Slot(Protocol):
    """One machine: a channel to its supervisor, and the means to clean or remove it."""

    channel: Channel
    notes: tuple[str, ...]
    resets: bool
    """Whether `reset` works; without it a used slot is removed and another one made."""

    async def reset(self) -> None:
        """Make it as new, and prove it. Raises SandboxLost."""

    async def engine_lost(self) -> bool:
        """Once the slot is lost: whether the host can prove that its engine is, too."""

    async def destroy(self) -> None:
        """Remove it; returns when nothing of it is left. Never raises."""


class Backend(Protocol):
    """Where slots come from."""

    name: Literal["docker", "bubblewrap"]
    notes: tuple[str, ...]
    most_leases: int | None

    async def open(self, spec: SandboxSpec) -> Slot:
        """A proved clean slot. Raises SandboxUnavailable or MissingError."""

    async def aclose(self) -> None:
        """Let go of the engine."""


def mounts(spec: SandboxSpec) -> list[tuple[str, int, str]]:
    """Path, size in bytes and mode of every writable tmpfs; together they fit the limit.

    Raises UsageError where `disk_mb` leaves no room below `memory_mb`.
    """
    left = spec.memory_mb - _RESERVED_MB - spec.disk_mb
    if spec.disk_mb < 1 or left < 3:
        raise UsageError(
            f"memory_mb={spec.memory_mb} is too small for disk_mb={spec.disk_mb}:"
            f" give at least {spec.disk_mb + _RESERVED_MB + 3}"
        )
    scratch = min(_SCRATCH_MB, left // 3) << 20
    shared = [(path, scratch, "1777") for path in ("/tmp", "/var/tmp", "/dev/shm")]  # noqa: S108
    return [(WORKSPACE, spec.disk_mb << 20, "0755"), *shared]


def configuration(spec: SandboxSpec, mode: Literal["keeper", "direct"]) -> dict[str, Any]:
    """What the payload is told."""
    return {
        "mode": mode,
        "uid": AGENT_UID if mode == "keeper" else None,
        "workspace": WORKSPACE,
        "mounts": mounts(spec),
        "inodes": _INODES,
        "masked": MASKED,
    }


def check_hello(hello: Header, config: dict[str, Any]) -> tuple[str, ...]:
    """The notes of a supervisor whose proof holds. Raises SandboxUnavailable where it does not."""
    proof = hello.get("proof")
    notes = hello.get("notes")
    if not isinstance(proof, dict) or not isinstance(notes, list):
        raise SandboxUnavailable("a new sandbox gave no proof that it is clean")
    held = _SIX_CAPABILITIES if config["uid"] is not None else _NONE
    wanted: dict[str, object] = {
        "pid": 1,
        "processes": 1,
        "littered": [],
        "queues": 0,
        "CapPrm": held,
        "CapEff": held,
        "CapBnd": _NONE,
        "CapInh": _NONE,
        "CapAmb": _NONE,
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }
    wrong = [name for name, value in wanted.items() if proof.get(name) != value]
    wrong += [
        path for path, size, _ in config["mounts"] if not _sized(proof.get("free"), path, size)
    ]
    if wrong:
        raise SandboxUnavailable(f"a new sandbox is not clean: wrong {', '.join(wrong)}")
    return tuple(str(note) for note in notes)


def _sized(free: object, path: str, size: int) -> bool:
    """Whether a tmpfs has its size and is empty."""
    seen = free.get(path) if isinstance(free, dict) else None
    return isinstance(seen, int) and 0.9 * size <= seen <= 1.1 * size
