"""`envkit new`: the pack it writes is one that a stranger can install, check and test untouched."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from envkit.errors import UsageError
from envkit.scaffold import new_pack


@pytest.mark.parametrize("name", ["Big", "a-b", "1st", "class", "", "a b", "../x", "é", "_x"])
def test_names_that_cannot_be_modules_are_refused(name, tmp_path):
    with pytest.raises(UsageError, match="can't be a pack's name"):
        new_pack(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["desk", "validators"])
def test_names_that_are_taken_are_refused(name, tmp_path):
    with pytest.raises(UsageError, match="installed already"):
        new_pack(name, tmp_path)


def test_what_is_there_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        new_pack("mine", tmp_path)
    assert (tmp_path / "mine").read_text() == "precious"
    with pytest.raises(UsageError, match="no such folder"):
        new_pack("mine", tmp_path / "nowhere")


def test_the_files_are_filled_in_and_styled(tmp_path):
    files = new_pack("ticket_office", tmp_path)
    assert [path.relative_to(tmp_path / "ticket_office").as_posix() for path in files] == [
        "README.md",
        "pyproject.toml",
        "src/envkit_ticket_office/__init__.py",
        "src/envkit_ticket_office/envkit.json",
        "src/envkit_ticket_office/ticket_office.py",
        "tests/test_pack.py",
    ]
    assert not [path for path in files if "@@" in path.read_text()]
    assert "class TicketOffice(Env[Gold]):" in files[4].read_text()
    ruff = [sys.executable, "-m", "ruff"]
    flags = ["--isolated", "--line-length", "100"]
    _run([*ruff, "check", *flags, "--select", "E,F,I,B,UP,SIM,RUF", "."], tmp_path)
    _run([*ruff, "format", "--check", *flags, "."], tmp_path)


@pytest.mark.slow
@pytest.mark.bubblewrap
@pytest.mark.timeout(400)
def test_installed_elsewhere_it_passes_validate_and_its_own_tests(tmp_path):
    pytest.importorskip("hatchling", reason="builds the pack without the network")
    python = _fresh_python(tmp_path / "venv")
    new_pack("corner_shop", tmp_path)
    folder = tmp_path / "corner_shop"
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    outer_pip = [sys.executable, "-m", "pip", "--python", str(python), "install", *flags]
    _run([*outer_pip, str(folder)], tmp_path)
    envkit = [str(python), "-c", "import sys; from envkit.cli import main; sys.exit(main())"]
    checked = json.loads(_run([*envkit, "validate", "corner_shop", "--json"], tmp_path))
    assert checked["findings"] == []
    flags = ["--tasks", "4", "--concurrency", "2", "--backend", "bubblewrap", "--json"]
    played = _run([*envkit, "rollout", "corner_shop/corner_shop", *flags], tmp_path)
    assert json.loads(played)["success_rate"] == 1.0
    _run([str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)], folder)


def _fresh_python(folder: Path) -> Path:
    """A virtual environment that sees what is installed here, and has a place of its own."""
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    outer = sysconfig.get_paths()["purelib"]
    (site / "outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n")
    return folder / "bin" / "python"


def _run(argv: list[str], cwd: Path) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
