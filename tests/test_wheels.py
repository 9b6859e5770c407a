"""What is shipped: wheels of envkit and of every pack, installed out of reach of the checkout, play there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKS = sorted(path.parent.name for path in ROOT.glob("envs/*/pyproject.toml"))
IN_PROCESS = [
    "starter/lookup",
    "shop/refund",
    "recall/fact",
    "table/bargain",
]  # no sandbox, no browser

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling", reason="builds the wheels without the network")
    folder = tmp_path_factory.mktemp("wheels")
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder]
    projects = [ROOT, *(ROOT / "envs" / pack for pack in PACKS)]
    _run([sys.executable, "-m", "pip", "wheel", *flags, *projects], folder)
    return folder


@pytest.fixture(scope="module")
def python(wheels, tmp_path_factory) -> Path:
    """A virtual environment with the wheels; what they depend on is taken from where the tests run."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    # the folder alone: the .pth files in it, which lead to the checkout, are not read
    (site / "outer.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    made = folder / "bin" / "python"
    flags = ["--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    outer_pip = [sys.executable, "-m", "pip", "--python", made, "install", *flags]
    _run([*outer_pip, *sorted(wheels.glob("*.whl"))], folder)
    return made


@pytest.mark.parametrize("name", ["envkit", *PACKS])
def test_a_wheel_holds_every_file_of_its_package(name, wheels):
    distribution = "envkit" if name == "envkit" else f"envkit_{name}"
    folder = ROOT if name == "envkit" else ROOT / "envs" / name / "src"
    (wheel,) = wheels.glob(f"{distribution}-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    files = {
        path.relative_to(folder).as_posix()
        for path in (folder / distribution).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files, "control: there is something to ship"
    assert files - held == set()
    assert [file for file in held if "__pycache__" in file] == []


def test_what_runs_there_is_not_the_checkout(python):
    modules = ["envkit", "envkit_validators", *(f"envkit_{pack}" for pack in PACKS)]
    code = f"import {', '.join(modules)}; print(*(m.__file__ for m in [{', '.join(modules)}]))"
    files = _run([python, "-c", code], python.parent).split()
    assert [file for file in files if not Path(file).is_relative_to(python.parent.parent)] == []


def test_the_packs_are_listed_there(python):
    listed = {row["env"] for row in json.loads(_envkit(python, "list"))}
    here = [json.loads(path.read_text()) for path in ROOT.glob("envs/*/src/*/envkit.json")]
    assert len(listed) == sum(len(manifest["envs"]) for manifest in here)
    assert listed >= set(IN_PROCESS)


@pytest.mark.parametrize("pack", PACKS)
def test_a_pack_is_valid_there(pack, python):
    assert json.loads(_envkit(python, "validate", pack))["findings"] == []


@pytest.mark.parametrize("spec", IN_PROCESS)
def test_an_environment_is_solved_there(spec, python, tmp_path):
    played = _envkit(python, "rollout", spec, "--tasks", "1", "--out", str(tmp_path / "run"))
    assert json.loads(played)["success_rate"] == 1.0


def _envkit(python: Path, *argv: str) -> str:
    return _run([python.with_name("envkit"), *argv, "--json"], python.parent)


def _run(argv: list[object], cwd: Path) -> str:
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in argv], cwd=cwd, env=outside, capture_output=True, text=True, timeout=300, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
