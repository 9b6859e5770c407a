"""Every planted leak is found by the rule that it is about; its clean twin has no finding of medium or worse."""

from pathlib import Path

import pytest

from envkit.audit.audit import audit
from envkit.audit.checks import RANK
from envkit.audit.seen import AuditSettings

HERE = Path(__file__).parent

# files of a terminal are looked at as they are seeded: that needs no engine, and the rest is in this process
NEEDLE, GIT = "leak.needle", "leak.git"
LEAKS = {
    "files.py": {
        "LaterCommit": GIT, "LooseObject": GIT, "GzipInCache": NEEDLE, "PycConstant": NEEDLE,
        "Utf16Log": NEEDLE, "HexInSqlite": NEEDLE, "ReversedNote": NEEDLE, "Variable": NEEDLE,
        "Base64InReadme": NEEDLE, "FileName": NEEDLE, "DeletedRow": NEEDLE, "Tar": NEEDLE,
    },
    "words.py": {
        "AnswerJson": NEEDLE, "SolutionKey": NEEDLE, "ToolEnum": "leak.tool-schema", "ToolTells": NEEDLE,
        "Prompted": NEEDLE,
        "ConstantPass": "grader.constant", "ExceptPays": "grader.except-pays", "Substring": "grader.substring",
        "RunsText": "grader.runs-text", "IdOnly": "crossgrade.unchecked-field", "AnyGold": "crossgrade.any-gold",
        "HiddenSubstring": "crossgrade.listing", "Fragment": "crossgrade.fragment",
        "Unkeyed": "data.overlap", "HashOrder": "determinism.task",
    },
    "sites.py": {
        "DebugRoute": NEEDLE, "HiddenField": NEEDLE, "FieldBackwards": NEEDLE, "Header": NEEDLE,
        "MetaMemory": NEEDLE,
    },
}  # fmt: skip
CASES = [(file, name, rule) for file, names in LEAKS.items() for name, rule in names.items()]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


async def audited(file, name):
    settings = AuditSettings(
        f"file:{HERE / file}:{name}", tasks=2, attack_tasks=1, perturbations=("hash seed",),
        worlds=file != "files.py",
    )  # fmt: skip
    return await audit(settings)


@pytest.mark.parametrize(("file", "name", "rule"), CASES)
async def test_the_leak_is_found(file, name, rule):
    report = await audited(file, name)
    found = {one.rule for one in report.findings if RANK[one.severity] >= RANK["high"]}
    assert rule in found, report.findings
    assert report.falls_short("high")


@pytest.mark.parametrize(("file", "name"), [(file, f"{name}Twin") for file, name, _ in CASES])
async def test_its_twin_is_clean(file, name):
    report = await audited(file, name)
    assert [one for one in report.findings if RANK[one.severity] >= RANK["medium"]] == []


async def test_an_honest_grader_with_two_answers_is_not_flagged():
    report = await audited("words.py", "TwoAnswers")
    assert [one for one in report.findings if RANK[one.severity] >= RANK["medium"]] == []


async def test_a_route_is_named_that_tells():
    report = await audited("sites.py", "DebugRoute")
    assert any("/debug/state" in one.place for one in report.findings)
