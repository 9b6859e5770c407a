"""The audit itself: what it says where a machine can't run a world, what it counts as read, what it prints."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from envkit.audit.audit import audit
from envkit.audit.checks.plays import world
from envkit.audit.play import Played
from envkit.audit.record import recorded
from envkit.audit.report import markdown, plain
from envkit.audit.seen import AuditSettings, Seen
from envkit.cli import main
from envkit.data.score import Finding

WEAK = Path(__file__).parent / "weak"
LEAKS = Path(__file__).parents[1] / "leakbench"
WORLDS = Path(__file__).parents[1] / "worlds"


class Gold(BaseModel):
    name: str
    note: str = ""


@pytest.mark.parametrize(
    ("gold", "reads", "expected"),
    [
        (Gold(name="a"), lambda gold: gold.name, {"name"}),
        (Gold(name="a"), lambda gold: gold.model_dump(), {"name", "note"}),
        (Gold(name="a"), lambda gold: gold == Gold(name="b"), {"name", "note"}),
        ({"name": 1, "note": 2}, lambda gold: gold["name"], {"name"}),
        ({"name": 1, "note": 2}, lambda gold: gold.get("note"), {"note"}),
        ({"name": 1, "note": 2}, json.dumps, {"name", "note"}),
        ({"name": 1, "note": 2}, lambda gold: {**gold}, {"name", "note"}),
    ],
)
def test_what_is_read_of_a_gold_is_noted(gold, reads, expected):
    copy, told = recorded(gold)
    assert told() == set()
    reads(copy)
    assert told() == expected


async def test_without_worlds_nothing_is_clean():
    report = await audit(AuditSettings(f"file:{LEAKS / 'files.py'}:VariableTwin", worlds=False))
    assert not report.complete
    assert report.card.missing
    assert report.card.exploit_resistance.values is None
    assert "**Incomplete.**" in markdown([report])


async def test_an_attack_that_scores_is_a_finding():
    settings = AuditSettings(f"file:{WEAK / 'words.py'}:MasterKey", tasks=1, perturbations=())
    report = await audit(settings)
    rules = {finding.rule for finding in report.findings}
    assert "attack.master_key" in rules
    assert report.measures["attacks"]["scored"] == ["master_key"]
    assert report.falls_short("critical")


@pytest.mark.parametrize("rule", ["handler-broke", "tool-raised"])
def test_what_an_agents_values_broke_is_told_though_the_oracle_never_broke_it(rule):
    broke = Finding(rule, "medium", "tool", "KeyError at words.py:7", "mend it")
    refused = Finding("egress-denied", "low", "browser", "asked for evil.test", "nothing")
    plays = [Played("noop", "train", 0), Played("spam", "train", 1, findings=(broke, refused))]
    seen = Seen.__new__(Seen)
    seen.plays = plays
    assert [(one.rule, one.evidence) for one in world(seen)] == [(f"world.{rule}", broke.evidence)]


async def test_a_repetition_whose_time_was_over_is_not_run_and_no_difference():
    spec = f"file:{WORLDS / 'late.py'}:Late"
    settings = AuditSettings(
        spec, tasks=1, attack_tasks=1, perturbations=("time zone", "hash seed")
    )
    report = await audit(settings)
    assert [one for one in report.findings if one.rule.startswith("determinism.")] == []
    assert "repetition (time zone): time was over in train/0" in report.card.missing
    assert not report.complete


def test_text_of_agents_is_no_markup():
    assert plain("a|b <script> \x1b[31m") == "a\\|b &lt;script&gt; \\\\x1b\\[31m"


def test_the_command_writes_its_document(tmp_path, capsys):
    spec = f"file:{LEAKS / 'words.py'}:ConstantPass"
    status = main(["audit", spec, "--tasks", "1", "--out", str(tmp_path), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert status == 1
    assert {"findings", "card", "digest", "complete"} <= set(told)
    assert told["card"]["digest"] == told["digest"]
    assert json.loads((tmp_path / "audit.json").read_text()) == told
    assert "grader.constant" in (tmp_path / "audit.md").read_text()
