"""What a task may put into a terminal, and how a mistake is named. No sandbox is opened here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from envkit.adapters.terminal import Terminal
from envkit.data.task import Blob
from envkit.errors import DeclarationError

Seed = Terminal.Seed


def test_importing_the_adapter_loads_pydantic_alone() -> None:
    code = "import sys; import envkit.adapters.terminal; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"docker", "pyte", "requests", "urllib3", "wcwidth", "rich", "typer"}
    assert not heavy & set(loaded.stdout.split())


def test_files_alone_are_a_seed() -> None:
    assert Seed.model_validate({"app.log": "text"}) == Seed(files={"app.log": "text"})
    assert Seed.model_validate({"a/b": b"\xff"}) == Seed(files={"a/b": Blob(data=b"\xff")})
    assert Seed.model_validate({}) == Seed()


def test_a_mapping_with_a_field_is_a_whole_seed() -> None:
    assert Seed.model_validate({"files": {"files": "x"}}).files == {"files": "x"}
    assert Seed.model_validate({"image": "name:tag"}).image == "name:tag"
    with pytest.raises(ValidationError, match=r"app\.log"):
        Seed.model_validate({"env": {}, "app.log": "where does it belong?"})
    with pytest.raises(ValidationError, match="enviroment"):
        Seed.model_validate({"files": {}, "enviroment": {}})


NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20
)
PATHS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3)


@given(PATHS.map("/".join), st.binary(max_size=20) | st.text(max_size=20), st.text(max_size=5))
def test_a_seed_survives_json(path: str, content: str | bytes, value: str) -> None:
    seed = Seed.model_validate({"files": {path: content}, "env": {"A": value.replace("\0", "")}})
    assert Seed.model_validate(json.loads(json.dumps(seed.model_dump(mode="json")))) == seed
    assert Seed.model_validate_json(seed.model_dump_json()) == seed
    given_bytes = content if isinstance(content, bytes) else content.encode()
    assert seed.contents() == {path: given_bytes}


@given(
    PATHS.map("/".join),
    st.sampled_from(
        ["/{}", "../{}", "{}/..", "{}/../x", "{}/", "./{}", "{}//x", "{}\0", "{}/.", ""]
    ),
)
def test_a_path_that_is_no_place_in_the_workspace_is_named(path: str, shape: str) -> None:
    bad = shape.format(path.lstrip("/"))
    with pytest.raises(ValidationError) as refused:
        Seed(files={"good": "", bad: ""})
    (problem,) = refused.value.errors()
    assert problem["loc"] == ("files",)
    assert repr(bad) in problem["msg"] or "empty name" in problem["msg"]


@pytest.mark.parametrize("path", ["x" * 256, "/".join(["x" * 200] * 20), "\ud800"])
def test_a_path_that_no_file_system_takes_is_named(path: str) -> None:
    with pytest.raises(ValidationError, match=r"too long|surrogate|unicode"):
        Seed(files={path: ""})


@given(PATHS, NAMES.filter(lambda name: name not in (".", "..")))
def test_a_file_that_is_also_a_directory_is_named(parts: list[str], below: str) -> None:
    path = "/".join(parts)
    with pytest.raises(ValidationError, match="is also the directory of"):
        Seed(files={path: "", f"{path}/{below}": ""})


def test_neighbours_with_a_common_beginning_are_no_directory_of_each_other() -> None:
    assert Seed(files={"a": "", "a.txt": "", "ab/c": "", "ab/d": ""})


@pytest.mark.parametrize(
    ("seed", "named"),
    [
        ({"env": {"1A": "x"}}, "1A"),
        ({"env": {"A;rm": "x"}}, "A;rm"),
        ({"env": {"A": "x\0"}}, "NUL"),
        ({"env": {"A": 1}}, "env"),
        ({"cwd": "../up"}, "cwd"),
        ({"cwd": "a\0b"}, "cwd"),
        ({"executable": ["run.sh"]}, "run.sh"),
        ({"files": {"a": 1}}, "files"),
        ({"files": "text"}, "files"),
    ],
)
def test_other_mistakes_are_named(seed: dict, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Seed.model_validate(seed)


def test_the_prelude_quotes_what_the_task_says(tmp_path: Path) -> None:
    place = tmp_path / "it's $(my) dir"
    place.mkdir()
    script = Seed(env={"A": "it's $HOME `x`"}, cwd=str(place)).prelude() + ' && printf "$A|$PWD"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"it's $HOME `x`|{place}"
    assert Seed(cwd="a b").prelude() == "mkdir -p -- '/workspace/a b' && cd -- '/workspace/a b'"
    assert Seed().prelude() == ""


@pytest.mark.parametrize("pattern", ["", "/etc/passwd", "../x", "a/../../b", "a\0"])
def test_evidence_lies_in_the_workspace(pattern: str) -> None:
    with pytest.raises(DeclarationError, match="workspace"):
        Terminal().files(pattern)


def test_evidence_carries_the_adapters_name() -> None:
    class World:
        shell = Terminal()

        evidence = (shell.files("out/*.txt"),)

    assert World.evidence[0].adapter.name == "shell"
    assert World.evidence[0].pattern == "out/*.txt"


@pytest.mark.parametrize("wrong", [{"memory_mb": 0}, {"pids": -1}, {"cpus": 0}, {"disk_mb": 500}])
def test_a_machine_that_cannot_be_is_refused(wrong: dict) -> None:
    with pytest.raises(DeclarationError, match="Terminal"):
        Terminal(**wrong)


def test_the_tools_are_described_for_a_model() -> None:
    shell = Terminal()
    shell.name = "shell"
    tools = {tool.name: tool.schema()["function"] for tool in shell.tools().values()}
    assert list(tools)[:2] == ["shell_run", "shell_restart"]
    assert len(tools) == 13
    for tool in tools.values():
        assert len(tool["description"]) < 500
        for parameter in tool["parameters"]["properties"].values():
            assert parameter["description"]
