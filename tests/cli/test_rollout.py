"""`envkit rollout`: what is played, kept, shown, and what the exit status says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ENVKIT = [sys.executable, "-c", "import sys; from envkit.cli import main; sys.exit(main())"]


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]


def test_json_is_one_document_with_the_figures_of_the_contract(envkit, world, tmp_path):
    done = envkit("rollout", world(), "--tasks", 3, "--out", tmp_path / "run", "--json")
    assert done.status == 0
    named = "episodes reward_mean success_rate invalid blame seconds episodes_per_second".split()
    assert set(named) <= set(done.json)
    assert (done.json["episodes"], done.json["success_rate"], done.json["invalid"]) == (3, 1.0, 0)
    assert len(lines(tmp_path / "run")) == 3


def test_what_a_pack_prints_stays_out_of_the_document(envkit, world, tmp_path):
    spec = world("class Gold(", 'print("hello from the pack")\n\n\nclass Gold(')
    assert envkit("rollout", spec, "--tasks", 1, "--json").json["episodes"] == 1


def test_without_out_a_folder_is_made_and_named(envkit, world, tmp_path):
    done = envkit("rollout", world(), "--tasks", 1)
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"record: runs/{folder.name}" in done.out
    assert len(lines(folder)) == 1


def test_an_oracle_that_fails_exits_1(envkit, world):
    done = envkit("rollout", world("n=task.gold.total)", "n=1)"), "--tasks", 2, "--json")
    assert (done.status, done.json["success_rate"]) == (1, 0.0)


def test_doing_nothing_scores_nothing_and_exits_0(envkit, world):
    done = envkit("rollout", world(), "--policy", "noop", "--tasks", 2, "--json")
    assert (done.status, done.json["reward_mean"]) == (0, 0.0)


def test_near_misses_come_in_a_table_by_variant(envkit, world):
    done = envkit("rollout", world(), "--policy", "near-misses", "--tasks", 2)
    assert done.status == 0
    rows = [line.split() for line in done.out.splitlines()]
    assert ["less", "2", "0.000", "ok"] in rows
    assert ["more", "2", "0.000", "ok"] in rows


def test_a_near_miss_that_scores_exits_1(envkit, world):
    spec = world("play(task.gold.total - 1)", "play(task.gold.total)")
    done = envkit("rollout", spec, "--policy", "near-misses", "--tasks", 2)
    assert done.status == 1
    assert "scores like a solution" in done.out


def test_invalid_episodes_exit_1_and_each_reason_is_said_once(envkit, world):
    spec = world('yield call("add", n=task.gold.total)', "yield 1 / 0")
    done = envkit("rollout", spec, "--tasks", 4, "--json")
    assert (done.status, done.json["invalid"]) == (1, 4)
    assert done.err.count("envkit: invalid:") == 1
    assert "(4 times)" in done.err


def test_an_invalid_episode_exits_1_whatever_the_policy(envkit, world):
    spec = world(
        "    @tool", '    async def setup(self):\n        raise OSError("no")\n\n    @tool'
    )
    done = envkit("rollout", spec, "--policy", "noop", "--tasks", 2, "--json")
    assert (done.status, done.json["invalid"]) == (1, 2)


def test_a_file_says_what_the_flags_say_and_a_flag_wins(envkit, world, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(f'spec = "{world()}"\ntasks = 5\npolicy = "noop"\nsalt-file = "s"\n')
    (tmp_path / "s").write_text("0123456789abcdef")
    out = tmp_path / "run"
    done = envkit("rollout", "--config", config, "--tasks", 2, "--out", out, "--json")
    assert (done.json["episodes"], done.json["reward_mean"]) == (2, 0.0)
    again = envkit("rollout", "--config", out / "config.toml", "--out", tmp_path / "b", "--json")
    assert again.json["episodes"] == 2
    assert {e["task"] for e in lines(tmp_path / "b")} == {e["task"] for e in lines(out)}


def test_resume_needs_the_folder_alone_and_repeats_nothing(envkit, world, tmp_path):
    out = tmp_path / "run"
    envkit("rollout", world(), "--tasks", 6, "--out", out)
    kept = (out / "episodes.jsonl").read_bytes().splitlines(keepends=True)
    (out / "episodes.jsonl").write_bytes(b"".join(kept[:4]) + kept[4][:50])  # killed in mid-write
    done = envkit("rollout", "--resume", "--out", out, "--json")
    assert (done.status, done.json["episodes"]) == (0, 6)
    assert sorted(episode["index"] for episode in lines(out)) == list(range(6))


def test_one_task_by_index_and_by_id(envkit, world, tmp_path):
    first = envkit("rollout", world(), "--task", 3, "--out", tmp_path / "a", "--json")
    (episode,) = lines(tmp_path / "a")
    assert (first.json["episodes"], episode["index"]) == (1, 3)
    envkit("rollout", world(), "--task", episode["task"], "--out", tmp_path / "b")
    assert lines(tmp_path / "b")[0]["index"] == 3
    lost = envkit("rollout", world(), "--task", "f" * 20)
    assert lost.status == 2
    assert "not among the first 8 tasks" in lost.err


def test_show_gives_the_conversation_escaped_and_the_reasons_after_it(envkit, world, tmp_path):
    spec = world('== {"x": gold.total})', '== {"x": gold.total}, never=False)')
    done = envkit("rollout", spec, "--task", 0, "--show", "--out", tmp_path / "run")
    assert "\x1b" not in done.out
    assert "[bold]" in done.out
    assert "\\x1b[31m" in done.out
    assert done.out.index("add n=") < done.out.index("never: 0")
    again = envkit("rollout", "--task", 0, "--show", "--out", tmp_path / "run")
    assert again.out == done.out
    assert len(lines(tmp_path / "run")) == 1, "showing plays nothing"
    document = envkit("rollout", "--task", 0, "--show", "--out", tmp_path / "run", "--json").json
    assert "never: 0" in document["shown"][0]["reasons"]


def test_a_run_that_never_began_leaves_no_folder(envkit, world, tmp_path):
    assert envkit("rollout", world(), "--split", "nope").status == 2
    assert not list((tmp_path / "runs").iterdir())


def test_ctrl_c_keeps_the_record_and_says_how_to_go_on(world, tmp_path):
    spec = world("def add(self, n: int) -> str:", "async def add(self, n: int) -> str:")
    slow = (tmp_path / "world.py").read_text()
    slow = slow.replace('self.table["x"] += n', "import asyncio; await asyncio.sleep(n / 10)")
    (tmp_path / "world.py").write_text(slow)
    out = tmp_path / "run"
    run = subprocess.Popen(
        [*ENVKIT, "rollout", spec, "--tasks", "20", "--concurrency", "1", "--out", str(out)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (out.exists() and len(lines_so_far(out)) >= 2):
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    kept = len(lines(out))
    assert 2 <= kept < 20
    assert f"{kept} episodes are in {out}" in said
    assert f"envkit rollout --resume --out {out}" in said
    assert "Traceback" not in said


def lines_so_far(folder: Path) -> list[bytes]:
    path = folder / "episodes.jsonl"
    return path.read_bytes().splitlines() if path.exists() else []


@pytest.mark.parametrize("policy", ["oracle", "noop", "random", "near-misses"])
def test_every_scripted_policy_plays(envkit, world, policy):
    done = envkit("rollout", world(), "--policy", policy, "--tasks", 2, "--json")
    assert done.json["invalid"] == 0


def test_a_model_behind_an_endpoint_plays_with_tokens_and_cost(envkit, world, chat, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    spec = world("rng.randint(3, 9)", "rng.randint(4, 4)")
    answers = [chat.says(calls=[chat.asks("add", {"n": 4})]), chat.says("done")]
    with chat.ChatServer(answers) as server:
        flags = ["--policy", "openai:some/model", "--base-url", server.url, "--price", "1000:1000"]
        done = envkit("rollout", spec, *flags, "--tasks", 1, "--temperature", 0.5, "--json")
    assert (done.status, done.json["reward_mean"]) == (0, 1.0), done.err
    assert done.json["tokens"] > 0
    assert done.json["cost"] == pytest.approx(done.json["tokens"] / 1000)
