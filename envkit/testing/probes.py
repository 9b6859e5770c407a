"""Ways one episode could tell the next one something.

A channel is two shell scripts: `send` leaves a mark, `look` prints what can be seen of it. Where
`real` is set, looking in the same episode must show the mark, so that the probe itself is proved.
"""

from __future__ import annotations

from dataclasses import dataclass

_LIBC = "import ctypes as c, os; libc = c.CDLL(None, use_errno=True); "


def python(source: str) -> str:
    """A shell command that runs Python source."""
    return "python3 - <<'PYTHON'\n" + source + "\nPYTHON"


@dataclass(frozen=True, slots=True)
class Channel:
    """One way for state to outlive a reset."""

    name: str
    send: str
    look: str
    real: bool = True


_WRITABLE = "find / -xdev -type d -writable 2>/dev/null; echo /tmp; echo /var/tmp; echo /dev/shm"
_FOLDERS = """
import os
for path in ("/workspace", "/tmp", "/var/tmp", "/dev/shm"):
    facts = os.stat(path)
    print(path, oct(facts.st_mode), facts.st_mtime < 1_500_000_000)
"""
_NAMES = """
import glob
print(sorted(open(path).read() for path in glob.glob("/proc/[0-9]*/comm")))
"""
_SOCKET = """
import socket, subprocess, sys
subprocess.Popen([sys.executable, "-c", '''
import socket, time
one = socket.socket(socket.AF_UNIX); one.bind("\\\\0mark"); time.sleep(600)
'''], start_new_session=True)
import time; time.sleep(0.3)
"""
_TCP = """
import socket
server = socket.create_server(("127.0.0.1", 4242))
one = socket.create_connection(("127.0.0.1", 4242)); other, _ = server.accept()
one.sendall(b"x" * 1000); one.close(); other.close()
"""
_PTYS = "import os, time; [os.openpty() for _ in range(5)]; os.fork() or time.sleep(600)"
_LOCK = """
import fcntl, os, time
held = open("/etc/passwd"); fcntl.flock(held, fcntl.LOCK_EX)
if os.fork() == 0: os.setsid(); os.closerange(0, 3); time.sleep(600)
"""
_LOCKED = """
import fcntl
try: fcntl.flock(open("/etc/passwd"), fcntl.LOCK_EX | fcntl.LOCK_NB); print("free")
except OSError: print("held")
"""
_SYSV = _LIBC + (
    "print(libc.shmget(7, 4096, 0o1666), libc.msgget(7, 0o1666), libc.semget(7, 1, 0o1666))"
)
_QUEUE = _LIBC + (
    "c.CDLL('librt.so.1').mq_open(b'/mark', os.O_CREAT | os.O_RDWR, 0o666, None)\n"
    "try: open('/dev/mqueue/mark', 'w')\nexcept OSError: pass"
)
_KEY = _LIBC + "print(libc.syscall(248, b'user', b'mark', b'x', 1, -4))"
_KEYS = _LIBC + "print(libc.syscall(249, b'user', b'mark', None, -4))"

CHANNELS = (
    Channel(
        "files in every writable folder",
        f"for d in $({_WRITABLE}); do echo x > $d/mark; done 2>/dev/null",
        f"for d in $({_WRITABLE}); do ls -A $d; done",
    ),
    Channel(
        "times and modes of folders",
        "touch -d 2001-01-01 /workspace /tmp /var/tmp /dev/shm; chmod 700 /workspace",
        python(_FOLDERS),
    ),
    Channel(
        "SysV shared memory, queues, semaphores", python(_SYSV), "cat /proc/sysvipc/*", real=False
    ),
    Channel("POSIX message queues", python(_QUEUE), "ls -A /dev/mqueue 2>/dev/null", real=False),
    Channel(
        "inode numbers",
        "cd /tmp; for i in $(seq 500); do : > f$i; done",
        "cd /tmp; : > new; stat -c %i new; rm new",
    ),
    Channel("last pid", "for i in $(seq 200); do /bin/true; done", "sh -c 'echo $$'"),
    Channel("host name", "hostname mark", "hostname; cat /proc/sys/kernel/hostname", real=False),
    Channel("processes", "setsid sleep 600 & sleep 0.1", python(_NAMES)),
    Channel("abstract sockets", python(_SOCKET), "grep -c @mark /proc/net/unix"),
    Channel(
        "closed connections and counters",
        python(_TCP),
        "cat /proc/net/tcp /proc/net/dev; grep -A1 ^Tcp: /proc/net/snmp",
    ),
    Channel("keyring", python(_KEY), python(_KEYS) + "; cat /proc/keys 2>&1 | wc -l", real=False),
    Channel(
        "environment", "export MARK=1", "echo $MARK; cat /proc/self/environ | tr '\\0' '\\n' | sort"
    ),
    Channel(
        "control groups",
        "head -c 30000000 /dev/zero > /tmp/big; rm /tmp/big",
        "cat /proc/self/cgroup; find /sys -type f 2>/dev/null | head",
        real=False,
    ),
    Channel(
        "space used",
        "head -c 1000000 /dev/zero > /workspace/big; : > /dev/shm/one",
        "df -B1 --output=used,iused /workspace /tmp /var/tmp /dev/shm",
    ),
    Channel(
        "kernel settings",
        "for f in $(find /proc/sys -writable -type f 2>/dev/null); do echo 1 > $f; done",
        "find /proc/sys -writable -type f 2>/dev/null | wc -l; cat /proc/sys/kernel/domainname",
        real=False,
    ),
    Channel("PTY numbers", python(_PTYS), python("import os; print(os.ttyname(os.openpty()[1]))")),
    Channel(
        "shell state",
        "ulimit -n 77; umask 077; f() { :; }; x=1",
        "ulimit -n; umask; declare -F; echo $x",
    ),
    Channel("file locks", python(_LOCK), python(_LOCKED)),
    Channel(
        "access times",
        "cat /usr/share/common-licenses/* > /dev/null 2>&1; ls -R /usr/share/doc > /dev/null",
        "stat -c '%X %Y %Z' /usr/share/common-licenses/* /usr/share/doc",
        real=False,
    ),
)

REFUSED_CALLS = frozenset(
    "acct add_key bpf chroot delete_module fanotify_init finit_module fsopen fsmount init_module"
    " io_uring_setup kcmp kexec_load keyctl memfd_secret migrate_pages mount move_mount move_pages"
    " name_to_handle_at open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root"
    " process_vm_readv process_vm_writev quotactl reboot request_key setns sethostname swapon"
    " syslog umount2 userfaultfd clone3 mq_open msgget semget shmget".split()
)
"""Calls that must fail with EPERM or ENOSYS whatever their arguments."""
