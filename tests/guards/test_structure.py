"""`validate`: each rule finds what it is there for, and nothing in packs that are fine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from envkit.errors import UsageError
from envkit.guards.static.structure import check, falls_short
from envkit.scaffold import new_pack


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A scaffolded pack with one piece of one file replaced, on the path as if installed."""
    name = f"p{abs(hash(tmp_path.name)) % 10**8}"  # modules stay imported: a name for each test

    def make(file: str = "", old: str = "", new: str = "") -> Path:
        new_pack(name, tmp_path)
        folder = tmp_path / name
        if file:
            path = folder / file.replace("NAME", name)
            text = path.read_text()
            assert old in text
            path.write_text(text.replace(old, new))
        info = folder / "src" / f"envkit_{name}-0.1.0.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: envkit-{name}\nVersion: 0.1.0\n"
        (info / "METADATA").write_text(metadata)
        (info / "entry_points.txt").write_text(f"[envkit.envs]\n{name} = envkit_{name}\n")
        monkeypatch.syspath_prepend(str(folder / "src"))
        return folder

    return make


def rules(target: str | Path) -> dict[str, str]:
    findings, _ = check(str(target))
    return {finding.rule.removeprefix("structure."): finding.severity for finding in findings}


def test_a_scaffolded_pack_is_clean_by_name_and_by_folder(pack):
    folder = pack()
    findings, digest = check(str(folder))
    assert findings == []
    assert len(digest) == 64
    assert check(folder.name) == ([], digest)


def test_the_desk_pack_has_no_high_finding():
    findings, _ = check("desk")
    assert {f.rule for f in findings if f.severity in ("high", "critical")} == set()


PYTHON = "src/envkit_NAME/NAME.py"
JSON = "src/envkit_NAME/envkit.json"
NO_SCRIPT = """def solve(task: Task[Gold]) -> Script:
        return []

    @staticmethod
    def other(task: Task[Gold]) -> Script:"""


@pytest.mark.parametrize(
    ("file", "old", "new", "rule"),
    [
        (JSON, '"version": 1', '"version": 2', "version"),
        (JSON, '"train": 1000', '"train": 10', "splits"),
        (JSON, '["terminal"]', '["browser"]', "adapters"),
        (JSON, '"schema_version": 1', '"schema_version": 2', "manifest"),
        (PYTHON, '    """Find the order that was charged twice."""\n', "", "docstring"),
        (PYTHON, "def solve(", "def solved(", "oracle"),
        (PYTHON, "def solve(task: Task[Gold]) -> Script:", NO_SCRIPT, "oracle"),
        (PYTHON, "def grade(", "def graded(", "grade"),
        (PYTHON, "def near_misses(", "def near_missed(", "near_misses"),
        (PYTHON, '_say(task.gold.order)', 'task.gold.order', "near_misses"),
        (PYTHON, 'twice, refunded = orders[:2]', 'twice, refunded = 1 / 0', "task_draws"),
        (PYTHON, "gold=Gold(order=twice)", "gold={}", "task_draws"),
        (PYTHON, '{"shell": {', '{"shelf": {', "task_draws"),
        (PYTHON, "k=40)]", "k=40 + int(__import__('time').monotonic_ns() % 9))]", "task_draws"),
        (PYTHON, "class ", "class Not", "class"),
        (PYTHON, "from pydantic import", "from nothing import", "class"),
        (PYTHON, "from pydantic", "import envkit.env\nfrom pydantic", "imports"),
        ("tests/test_pack.py", "PackConformance", "object", "tests"),
        ("pyproject.toml", '"envkit>=', '"envkit-other>=', "dependencies"),
        ("pyproject.toml", ",<0.", ",>0.", "dependencies"),
    ],
)  # fmt: skip
def test_each_rule_finds_what_it_is_there_for(pack, file, old, new, rule):
    assert rule in rules(pack(file, old, new))


def test_a_split_of_no_size_is_found_where_the_manifest_agrees(pack):
    folder = pack(PYTHON, '{"train": 1000, "test": 200}', '{"train": 1000, "test": 0}')
    listed = folder / JSON.replace("NAME", folder.name)
    listed.write_text(listed.read_text().replace('"test": 200', '"test": 0'))
    assert "splits" in rules(folder)


def test_findings_of_low_severity_pass(pack):
    folder = pack("pyproject.toml", ",<0.", ",>0.")
    findings, _ = check(str(folder))
    assert [finding.severity for finding in findings] == ["low"]
    assert not falls_short(findings)


def test_a_missing_readme_and_tests_are_found(pack):
    folder = pack()
    (folder / "README.md").write_text("# nothing")
    assert rules(folder) == {"readme": "low"}
    (folder / "README.md").unlink()
    (folder / "tests/test_pack.py").unlink()
    assert rules(folder) == {"readme": "medium", "tests": "medium"}


def test_a_folder_that_is_not_installed_says_how_to_install_it(tmp_path):
    new_pack("lonely", tmp_path)
    with pytest.raises(UsageError, match="pip install -e"):
        check(str(tmp_path / "lonely"))


def test_two_packs_of_one_name_are_found(pack, tmp_path, monkeypatch):
    folder = pack()
    info = tmp_path / "other" / "other-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[envkit.envs]\n{folder.name} = other\n")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    assert rules(folder)["entry_point"] == "high"


def test_validate_opens_no_world(pack, monkeypatch):
    async def refuse(*_: object) -> None:
        raise AssertionError("a world was opened")

    monkeypatch.setattr("envkit.adapters.terminal.adapter.Terminal.open", refuse)
    assert rules(pack()) == {}


def test_a_finding_reads_as_json(pack):
    findings, _ = check(str(pack(JSON, '"version": 1', '"version": 2')))
    assert set(json.loads(json.dumps(asdict(findings[0])))) == {
        "rule", "severity", "place", "evidence", "remedy",
    }  # fmt: skip
