"""The house rules: what importing loads, what is public, what may import what, what ships."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import envkit

ROOT = Path(__file__).parent.parent
PYDANTIC = {
    "annotated_types",
    "pydantic",
    "pydantic_core",
    "typing_extensions",
    "typing_inspection",
}

# A name that goes was deprecated for a minor version first; a new one is in the changelog.
PUBLIC = [
    "Action", "Adapter", "Api", "Artefact", "Ask", "Blob", "Browser", "Check", "Clock",
    "Config", "Context", "Data", "Env", "EnvSpec", "EnvkitError", "Evidence", "Finding",
    "Floor", "Grading", "Image", "Invalid", "Limits", "Malformed", "Memory", "Message",
    "Observation", "Oversize", "Probe", "PublicTask", "Reason", "Reply", "Score", "Script",
    "Session", "SessionChain", "Store", "SubjectCall", "SubjectRun", "Task", "Team", "Terminal",
    "Tests", "Tool", "ToolCall", "ToolRefusal", "ToolResult", "World", "call", "failed",
    "passed", "say", "strict_json", "tool",
]  # fmt: skip


def in_a_process(*argv: str) -> str:
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_importing_envkit_loads_the_standard_library_and_pydantic_alone() -> None:
    code = "import sys; old = set(sys.modules); import envkit; print(*set(sys.modules) - old)"
    loaded = {name.partition(".")[0] for name in in_a_process(sys.executable, "-c", code).split()}
    assert "envkit" in loaded
    built = {name for name in loaded if name.startswith("_sysconfigdata_")}  # named by platform
    assert loaded - set(sys.stdlib_module_names) - PYDANTIC - built == {"envkit"}


def test_the_public_names_are_these() -> None:
    assert sorted(envkit.__all__) == sorted(PUBLIC)


def test_everything_in_the_namespace_is_public() -> None:
    seen = {n for n, v in vars(envkit).items() if n[0] != "_" and not isinstance(v, ModuleType)}
    lazy = {"World"}  # brings FastAPI: see the module
    assert (seen | lazy) - {"annotations"} == {n for n in envkit.__all__ if n[0] != "_"}


@pytest.mark.parametrize("name", [n for n in envkit.__all__ if n[0] != "_"])
def test_a_public_name_has_a_docstring_of_its_own(name: str) -> None:
    value = getattr(envkit, name)
    doc = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert doc
    assert not doc.startswith(f"{name}("), "that is the one `dataclass` makes up"


def test_no_file_outgrows_a_reader() -> None:
    lines = {p: len(p.read_text().splitlines()) for p in ROOT.glob("envkit/**/*.py")}
    assert {p: n for p, n in lines.items() if n > 500} == {}
    assert lines[ROOT / "envkit/env.py"] <= 200, "the protocol fits on a few screens"


def test_imports_point_down_only() -> None:
    in_a_process(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")


def test_every_pack_here_is_named_where_packs_must_be() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    contracts = {contract["id"]: contract for contract in tool["importlinter"]["contracts"]}
    for source in ROOT.glob("envs/*/src/envkit_*"):
        assert source.name in contracts["finds-packs-by-entry-point"]["forbidden_modules"]
        assert str(source.parent.relative_to(ROOT)) in tool["mypy"]["mypy_path"]


def test_the_bare_names_envs_and_validators_stay_free() -> None:
    assert not (ROOT / "envs/__init__.py").exists()
    assert not (ROOT / "validators/__init__.py").exists()


@pytest.mark.slow
def test_the_wheel_holds_both_packages_typed(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    in_a_process(*build, str(ROOT))
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"envkit/py.typed", "envkit/__init__.py", "envkit_validators/__init__.py"} <= names
    assert {n.partition("/")[0].partition("-")[0] for n in names} == {"envkit", "envkit_validators"}
