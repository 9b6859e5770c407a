"""The record: whole lines of valid JSON, whatever was said and however full the disk is."""

from __future__ import annotations

import json
import math
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from envkit.errors import RecordError
from envkit.rollout.record import (
    EPISODES,
    MAX_TEXT,
    Episode,
    Record,
    RunHeader,
    Timings,
    read_episodes,
    read_sealed,
)

HEADER = RunHeader(
    spec="a/b", digest="d", salt="s", split="train", first=0, tasks=9, repeats=1, seed=0, policy={}, backend="auto",
)  # fmt: skip


def episode(index: int = 0, **more: Any) -> Episode:
    fields: dict[str, Any] = {
        "id": f"train-{index}-0", "spec": "a/b", "envkit": "1", "digest": "d", "salt": "s", "split": "train",
        "index": index, "repeat": 0, "variant": None, "policy": {},
        "timings": Timings(open=0, world=0, policy=0, judge=0, total=0),
    }  # fmt: skip
    return Episode(**{**fields, **more})


def kept(folder: Path, *episodes: Episode) -> list[Episode]:
    with Record(folder, HEADER, resume=True) as record:
        for one in episodes:
            record.append(one)
    return read_episodes(folder)


def strictly(line: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(line, parse_constant=refuse)


@pytest.mark.parametrize(
    "more",
    [
        {"policy": {"temperature": math.nan}},
        {"messages": ({"role": "user", "content": "x", "odd": math.inf},)},
        {"messages": ({"role": "user", "content": "\ud800"},)},
        {"detail": "\ud800", "policy": {"temperature": math.nan}, "invalid": "policy_failed"},
        {"findings": ({"where": "\udcff"},), "reward": 0.5, "seats": {"a": 1.0}},
    ],
)
def test_every_line_is_json_and_reads_again(tmp_path, more):
    (read,) = kept(tmp_path, episode(**more))
    strictly((tmp_path / EPISODES).read_text("utf-8"))
    assert (read.id, read.reward) == ("train-0-0", more.get("reward"))


def test_a_long_text_is_cut_in_its_middle_and_says_so(tmp_path):
    long = "a" + "x" * (3 * MAX_TEXT) + "z"
    said = {
        "role": "assistant", "content": long, "reasoning_content": long,
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": long}}],
    }  # fmt: skip
    made = episode(messages=(said, {"role": "user", "content": "short"}))
    assert kept(tmp_path, made) == [made]
    assert (tmp_path / EPISODES).stat().st_size < 3 * MAX_TEXT + 2000
    content = made.messages[0]["content"]
    assert (content[0], content[-1]) == ("a", "z")
    assert "characters left out" in content
    assert made.messages[1]["content"] == "short"


def test_a_full_disk_leaves_whole_lines_and_closes_the_record(tmp_path, monkeypatch):
    """The kernel says no in the middle of a line."""
    small, large = episode(0), episode(1, detail="x" * 100_000)
    kept(tmp_path, small)
    before = (tmp_path / EPISODES).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with Record(tmp_path, HEADER, resume=True) as record:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 1000, limits[1]))
            with pytest.raises(RecordError, match=r"episodes\.jsonl: File too large"):
                record.append(large)
            with pytest.raises(RecordError, match="closed"):
                record.append(small)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (tmp_path / EPISODES).read_bytes() == before
    assert kept(tmp_path, large) == [small, large]


def test_notes_that_a_kill_tore_are_left_out(tmp_path):
    (tmp_path / "sealed").mkdir()
    lines = [json.dumps({"episode": name, "why": "é"}, ensure_ascii=False) for name in "abc"]
    torn = lines[1].encode()[: lines[1].index("é") + 1]  # in the middle of a letter
    content = b"\n".join([lines[0].encode(), torn, lines[2].encode(), b'{"episode": "d"'])
    (tmp_path / "sealed" / "verdicts.jsonl").write_bytes(content)
    assert set(read_sealed(tmp_path)) == {"a", "c"}
    assert read_sealed(tmp_path / "no run") == {}
