"""The main job on real sandboxes: what a stranger would run, and what happens when it is killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WORLDS = Path(__file__).parent / "worlds"
SHELL = f"file:{WORLDS / 'secret_shell.py'}:SecretShell"
BACKENDS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
]
ENVKIT = [sys.executable, "-c", "import sys; from envkit.cli import main; sys.exit(main())"]


def rollout(
    spec: str, policy: str, out: Path, *flags: str, env: dict[str, str] | None = None
) -> dict:
    done = subprocess.run(
        [*ENVKIT, "rollout", spec, "--policy", policy, "--out", str(out), "--json", *flags],
        capture_output=True, text=True, timeout=110, env={**os.environ, **(env or {})}, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("env", ["logdesk", "bugfix"])
def test_desk_is_solved_by_the_oracle_and_by_nobody_else(env, backend, tmp_path):
    flags = ("--tasks", "4", "--concurrency", "4", "--backend", backend)
    oracle = rollout(f"desk/{env}", "oracle", tmp_path / "oracle", *flags)
    assert (oracle["success_rate"], oracle["invalid"]) == (1.0, 0)
    noop = rollout(f"desk/{env}", "noop", tmp_path / "noop", *flags)
    assert (noop["reward_mean"], noop["invalid"]) == (0.0, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_plays_the_same_pack_over_http(chat, backend, tmp_path):
    """A chat-completions server on loopback plays logdesk as a competent model would, through the real client."""

    def answer(body: dict) -> object:
        """One request's reply, from the conversation alone, so that episodes may interleave."""
        results = [message["content"] for message in body["messages"] if message["role"] == "tool"]
        if not results:
            return chat.says(None, [chat.asks("shell_run", "{broken")])
        if len(results) == 1:
            assert "not a JSON object" in results[0]
            command = "grep -rhi panic . | head -n 1"
            return chat.says("Looking.", [chat.asks("shell_run", {"command": command}, "call-2")])
        if len(results) == 2:
            host = re.search(r"[a-z]+-[a-z0-9-]+", results[1])
            command = f"printf '%s\\n' '{host[0] if host else '?'}' > answer.txt"
            return chat.says("", [chat.asks("shell_run", {"command": command}, "call-3")])
        return chat.says("Done.")

    with chat.ChatServer(answer) as server:
        done = rollout(
            "desk/logdesk", "openai:test-model", tmp_path / "run", "--tasks", "3", "--backend", backend,
            "--base-url", server.url, "--price", "1:2", env={"OPENAI_API_KEY": "k"},
        )  # fmt: skip
        assert {tool["function"]["name"] for tool in server.requests[0]["tools"]} >= {
            "shell_run",
            "submit",
        }
    assert (done["episodes"], done["invalid"]) == (3, 0)
    episodes = [
        json.loads(line) for line in (tmp_path / "run" / "episodes.jsonl").read_text().splitlines()
    ]
    for episode in episodes:
        assert episode["ending"] == "answer"
        assert episode["tokens"] == {"prompt": 400, "completion": 40, "cost": pytest.approx(480e-6)}
        assert [m["role"] for m in episode["messages"]].count("tool") == 3


def family(pid: int) -> set[int]:
    """A process and its descendants; the reaper is among them until its parent dies."""
    found, todo = {pid}, [pid]
    while todo:
        for children in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
            new = {int(child) for child in children.read_text().split()}
            todo += new - found
            found |= new
    return found


def mounts() -> set[str]:
    """What is mounted where this process can see it; the engine's overlays among them."""
    return set(Path("/proc/self/mounts").read_text().splitlines())


def containers() -> list[dict]:
    """All there are, stopped ones too; one that goes while we look may be missing."""
    ids = subprocess.run(
        ["docker", "ps", "-aq", "--no-trunc"], capture_output=True, text=True, check=False
    ).stdout.split()
    if not ids:
        return []
    seen = subprocess.run(["docker", "inspect", *ids], capture_output=True, text=True, check=False)
    return json.loads(seen.stdout or "[]")


def is_of(container: dict, pids: set[int]) -> bool:
    """Whether its owner, by its label, is one of these processes."""
    owner = (container["Config"]["Labels"] or {}).get("envkit.owner", "")
    return any(str(pid) in re.findall(r"\d+", owner) for pid in pids)


def places(found: list[dict]) -> set[str]:
    """What stands in the mount table for a container: its id, its layer, its network namespace."""
    named = set()
    for container in found:
        layer = (container["GraphDriver"]["Data"] or {}).get("MergedDir", "")
        space = container["NetworkSettings"].get("SandboxKey", "")
        named |= {container["Id"], layer, Path(space).name if space else ""}
    return named - {""}


def about(mounted: set[str], named: set[str]) -> set[str]:
    return {line for line in mounted if any(place in line for place in named)}


def left_mounted(before: set[str], pids: set[int]) -> set[str]:
    """New mounts, but those of containers that belong to others: tests run beside this one.

    What cannot be laid at another's door counts as ours. Others are asked for before and after: theirs come and go.
    """
    others = [one for one in containers() if not is_of(one, pids)]
    new = mounts() - before
    others += [one for one in containers() if not is_of(one, pids)]
    return new - about(new, places(others))


def left_of(pids: set[int]) -> list[str]:
    """What a dead run could leave: its processes (but zombies) and containers that carry one of their pids."""
    left = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            command = (
                Path(f"/proc/{pid}/cmdline")
                .read_bytes()
                .replace(b"\0", b" ")
                .decode(errors="replace")
            )
        except OSError:
            continue
        if state != "Z":
            left.append(f"process {pid}: {command[:100]}")
    return left + [f"container {one['Id'][:12]}" for one in containers() if is_of(one, pids)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_killed_run_leaves_nothing_and_resumes_whole(backend, tmp_path):
    out = tmp_path / "run"
    command = [
        *ENVKIT,
        "rollout",
        "desk/logdesk",
        "--policy",
        "oracle",
        "--tasks",
        "64",
        "--concurrency",
        "4",
    ]
    command += ["--backend", backend, "--out", str(out), "--json"]
    before = mounts()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    record = out / "episodes.jsonl"
    while not record.exists() or record.read_bytes().count(b"\n") < 5:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    pids = family(process.pid)
    assert len(pids) >= 4, "the runner, the judge, its workers"
    if backend == "docker":
        ours = [one for one in containers() if is_of(one, pids)]
        assert ours, "control: something to clean"
        mounted = left_mounted(before, pids)
        assert about(mounted, places(ours)), "control: a container's file system is mounted"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 5
    while left := left_of(pids) + sorted(left_mounted(before, pids)):
        assert time.monotonic() < deadline, f"left after 5 s: {left}"
        time.sleep(0.1)
    resumed = subprocess.run(
        [*command, "--resume"], capture_output=True, text=True, timeout=110, check=True
    )
    assert json.loads(resumed.stdout)["success_rate"] == 1.0
    indices = [json.loads(line)["index"] for line in record.read_text().splitlines()]
    assert sorted(indices) == list(range(64))


SELF_DESTRUCTS = {
    "kill all": "kill -9 -1",
    "fork bomb": ":(){ :|:& };:",
    "fill the disk": "cat /dev/zero > full; cat /dev/zero > /tmp/full",
    "eat memory": "python3 -c \"x = b'x' * (1 << 34)\"; python3 -c \"x=[b'y'*(1<<20) for _ in range(10000)]\"",
    "stop everything": "kill -STOP -1",
    "write to pid 1": "for f in /proc/1/fd/*; do echo FORGED > $f; done; kill -9 1",
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.timeout(300)
def test_an_agent_that_destroys_its_world_scores_zero_and_is_not_rolled_again(backend, tmp_path):
    script = tmp_path / "destroy.py"
    script.write_text(
        "from envkit import call\n"
        f"COMMANDS = {list(SELF_DESTRUCTS.values())!r}\n"
        "def play(task):\n"
        "    number = int(task.world['shell']['files']['number.txt'])\n"
        "    yield call('shell_run', command=COMMANDS[number], timeout=10)\n"
        "    yield call('shell_run', command='echo still here', timeout=5)\n"
    )
    world = tmp_path / "numbered.py"
    world.write_text(
        (WORLDS / "secret_shell.py")
        .read_text()
        .replace(
            'world = {"shell": {"readme.txt": "nothing here"}}',
            'world = {"shell": {"number.txt": str(index)}}',
        )
    )
    out = tmp_path / "run"
    done = rollout(
        f"file:{world}:SecretShell", f"script:{script}", out, "--tasks", str(len(SELF_DESTRUCTS)),
        "--backend", backend, "--concurrency", "2",
    )  # fmt: skip
    episodes = [json.loads(line) for line in (out / "episodes.jsonl").read_text().splitlines()]
    told = [(e["index"], e["reward"], e["attempts"], e["ending"], e["detail"]) for e in episodes]
    assert done["invalid"] == 0, told
    assert [(reward, attempts) for _, reward, attempts, _, _ in told] == [(0.0, 1)] * len(
        SELF_DESTRUCTS
    ), told


@pytest.mark.docker
def test_a_missing_image_is_one_clear_error(tmp_path):
    world = tmp_path / "elsewhere.py"
    source = (WORLDS / "secret_shell.py").read_text()
    world.write_text(source.replace("Terminal()", "Terminal(image='no-such-image:1')"))
    done = subprocess.run(
        [*ENVKIT, "rollout", f"file:{world}:SecretShell", "--policy", "noop", "--backend", "docker",
         "--out", str(tmp_path / "run")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert "no-such-image:1" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
