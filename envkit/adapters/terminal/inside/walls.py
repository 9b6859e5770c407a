"""The kernel's side of a sandbox: mounts, namespaces, capabilities and the system-call filter."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET, NEWTIME = 0x10000000, 0x20000000, 0x40000000, 0x00000080
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC = 1, 2, 4, 8, 32, 4096, 16384
PRIVATE = 1 << 18
DETACH = 2

CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID = 0, 1, 3, 5, 6, 7
SUPERVISOR_CAPABILITIES = (CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID)

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_READ, _PR_CAPBSET_DROP = 4, 22, 23, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Mount a file system of `kind` on `target`; flags as in the manual. Raises OSError."""
    arguments = (source.encode(), target.encode(), kind.encode(), flags, data.encode())
    _check(_libc.mount(*arguments[:3], ctypes.c_ulong(flags), arguments[4]), f"mount {target}")


def detach(target: str) -> None:
    """Unmount `target` and all that is mounted under it, in this mount namespace only."""
    _check(_libc.umount2(target.encode(), DETACH), f"umount {target}")


def unshare(flags: int) -> None:
    """Leave the namespaces in `flags` for new ones."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, flags: int) -> None:
    """Join the namespace that `descriptor` stands for."""
    _check(_libc.setns(descriptor, flags), "setns")


def hide_self() -> None:
    """Refuse /proc/self/{fd,mem,environ} and ptrace to processes of the same user."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl dumpable")


def keep_capabilities(kept: tuple[int, ...]) -> None:
    """Hold exactly `kept`, permitted and effective; nothing inheritable, ambient or bounding.

    The bounding set limits what an exec may gain, not what is held: empty, it leaves us the rights
    that we hold for as long as we start nothing, and what we fork can never have any.
    """
    number = 0
    while _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) >= 0:
        _check(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "prctl bounding set")
        number += 1
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    mask = sum(1 << number for number in kept)
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, struct.pack("6I", mask, mask, 0, 0, 0, 0)), "capset")


# One row per refused call: its number on x86_64 and on aarch64, None where it does not exist.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "userfaultfd": (323, 282),
}
# "Not implemented" where callers fall back: glibc to clone, programs to files and sockets. SysV
# and POSIX queues outlive their makers and fill memory that no kill gives back.
_ABSENT: dict[str, tuple[int | None, int | None]] = {
    "clone3": (435, 435),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "semget": (64, 190),
    "shmget": (29, 194),
}
_NAMESPACES = NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_CLONE, _UNSHARE, _IOCTL, _PRLIMIT = (56, 220), (272, 97), (16, 29), (302, 261)
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_X32_BIT = 0x40000000

_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16


def _when_argument(call: int, index: int, jump: int, value: int) -> list[tuple[int, ...]]:
    """EPERM for `call` where the low word of argument `index` meets `value`."""
    return [
        (_JUMP_EQ, 0, 4, call),
        (_LOAD, 0, 0, _ARGUMENTS + 8 * index),
        (jump, 0, 1, value),
        (_RETURN, 0, 0, _ERRNO | errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
    ]


def _program() -> list[tuple[int, ...]]:
    column, architecture = _MACHINES[os.uname().machine]
    program: list[tuple[int, ...]] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQ, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_GE, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
    ]
    for table, code in ((_REFUSED, errno.EPERM), (_ABSENT, errno.ENOSYS)):
        for numbers in table.values():
            if numbers[column] is not None:
                program += [(_JUMP_EQ, 0, 1, numbers[column] or 0), (_RETURN, 0, 0, _ERRNO | code)]
    program += _when_argument(_CLONE[column], 0, _JUMP_SET, _NAMESPACES)
    program += _when_argument(_UNSHARE[column], 0, _JUMP_SET, _NAMESPACES | NEWTIME)
    program += _when_argument(_IOCTL[column], 1, _JUMP_EQ, _TIOCSTI)
    program += _when_argument(_IOCTL[column], 1, _JUMP_EQ, _TIOCLINUX)
    # Limits of another process: a neighbour of the same user could starve the supervisor.
    program += _when_argument(_PRLIMIT[column], 0, _JUMP_SET, 0xFFFFFFFF)
    return [*program, (_RETURN, 0, 0, _ALLOW)]


def refused_numbers() -> dict[str, int]:
    """Name and number, on this machine, of every call that is refused whatever its arguments."""
    column, _ = _MACHINES[os.uname().machine]
    rows = {**_REFUSED, **_ABSENT}.items()
    return {name: number for name, numbers in rows if (number := numbers[column]) is not None}


def filter_calls() -> None:
    """Install the system-call filter; every process made from here on inherits it."""
    code = b"".join(struct.pack("HBBI", *row) for row in _program())
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl no_new_privs")
    _check(_libc.prctl(_PR_SET_SECCOMP, 2, header, 0, 0), "prctl seccomp")
