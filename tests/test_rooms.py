"""Three rooms: with a GUID as gold, no process but the judge's ever holds it, no file and no record either."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from envkit.judge.keys import PUBLIC_SALT, TaskKey
from envkit.registry import resolve

WORLDS = Path(__file__).parent / "worlds"
SPEC = f"file:{WORLDS / 'secret_shell.py'}:SecretShell"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="reads the memory of other processes: root only"
)


def gold(spec: str) -> bytes:
    resolved = resolve(spec)
    key = TaskKey.of(PUBLIC_SALT, str(resolved.spec), "train", 0)
    return resolved.env.task("train", 0, key.rng()).gold["secret"].encode()


def descendants(pid: int) -> set[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, todo = set(), [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found.update(children)
        todo += children
    return found


def command_of(pid: int) -> str:
    try:
        return (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        )
    except OSError:
        return ""


def holds(pid: int, needles: list[bytes]) -> bool:
    """Whether any readable byte of a process's memory is the needle, in any of its encodings."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        memory = open(f"/proc/{pid}/mem", "rb", buffering=0)  # noqa: SIM115  # closed below
    except OSError:
        return False
    with memory:
        for line in maps:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if "r" not in line.split()[1] or "[vvar" in line or "[vsyscall" in line:
                continue
            try:
                memory.seek(start)
                data = memory.read(end - start) or b""
            except (OSError, ValueError, OverflowError):
                continue
            if any(needle in data for needle in needles):
                return True
    return False


def encodings(secret: bytes) -> list[bytes]:
    return [secret, secret.replace(b"-", b""), secret.decode().encode("utf-16-le"), secret[::-1]]


@pytest.fixture(
    params=[
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
    ]
)
def lingering(request, tmp_path) -> Iterator[tuple[subprocess.Popen, Path, Path]]:
    """A rollout in mid-episode: its process, its record, and the flag whose removal lets it end."""
    flag = tmp_path / "stay"
    flag.touch()
    out = tmp_path / "run"
    argv = [
        sys.executable,
        "-c",
        "import sys; from envkit.cli import main; sys.exit(main())",
        "rollout",
        SPEC,
    ]
    argv += ["--policy", f"script:{WORLDS / 'linger.py'}", "--tasks", "1"]
    argv += ["--backend", request.param, "--out", str(out), "--json"]
    environment = {**os.environ, "LINGER_FLAG": str(flag)}
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not flag.with_suffix(".there").exists() and not Path(f"{flag}.there").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the episode never began"
        time.sleep(0.05)
    with process:
        yield process, out, flag
        flag.unlink(missing_ok=True)


def containers_of(pids: set[int]) -> set[int]:
    """Processes of containers that hang off the engine, not off the runner: found by their supervisor's owner."""
    listed = subprocess.run(
        ["docker", "ps", "-q", "--filter", "label=envkit.owner"],
        capture_output=True,
        text=True,
        check=False,
    )
    found = set()
    for container in listed.stdout.split():
        inspected = subprocess.run(
            ["docker", "inspect", "-f", "{{.State.Pid}}", container],
            capture_output=True,
            text=True,
            check=False,
        )
        if inspected.stdout.strip().isdigit():
            pid = int(inspected.stdout)
            found |= {pid} | descendants(pid)
    return found | pids


def test_nobody_but_the_judge_holds_the_secret(lingering):
    process, out, flag = lingering
    secret = gold(SPEC)
    needles = encodings(secret)
    family = containers_of(descendants(process.pid) | {process.pid})
    judges = {pid for pid in family if "envkit.judge" in command_of(pid)}
    others = family - judges
    assert any(holds(pid, needles) for pid in judges), "control: the scan finds it where it must be"
    assert process.pid in others
    assert len(others) >= 2, "the sandbox's processes are among those scanned"
    for pid in others:
        assert not holds(pid, needles), f"{pid}: {command_of(pid)[:200]}"
    sandboxed = {pid for pid in others if elsewhere(pid)}
    assert sandboxed, "some of them live on a file system of their own"
    for pid in sandboxed:
        assert not files_with(secret, Path(f"/proc/{pid}/root")), f"a file that {pid} can see"
    flag.unlink()
    stdout, _ = process.communicate(timeout=60)
    recorded = stdout.encode() + b"".join(
        path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and "sealed" not in path.parts
    )
    assert b"shell_run" in recorded
    assert not any(needle in recorded for needle in needles)
    sealed = (out / "sealed" / "verdicts.jsonl").read_bytes()
    assert secret in sealed, "control: the judge's own notes quote it"


def elsewhere(pid: int) -> bool:
    """Whether a process's root is not the host's."""
    try:
        return not os.path.samefile(f"/proc/{pid}/root/", "/")
    except OSError:
        return False


def files_with(secret: bytes, root: Path) -> list[str]:
    """Files with the secret under the parts of a sandbox that an agent could read."""
    places = [
        str(root / part)
        for part in ("workspace", "tmp", "var", "home", "root", "dev/shm", "etc", "run", "opt")
    ]
    places = [place for place in places if os.path.isdir(place)]
    if not places or re.fullmatch(r"/proc/\d+/root", str(root)) is None:
        return []
    found = subprocess.run(
        ["grep", "-rlaF", "--devices=skip", secret.decode(), *places],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.split()
