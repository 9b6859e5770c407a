"""The other commands, and that each is documented."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from envkit.cli import app

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference/cli.md"
COMMANDS = ["attack", "audit", "bench", "doctor", "list", "new", "rollout", "train", "validate"]


def help_of(*argv: str) -> str:
    shown = CliRunner().invoke(app, [*argv, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert shown.exit_code == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.output)


def test_the_commands_are_these():
    assert (
        sorted(command.name or command.callback.__name__ for command in app.registered_commands)
        == COMMANDS
    )


def test_it_is_a_module_too():
    done = subprocess.run(
        [sys.executable, "-m", "envkit", "--version"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"\d+\.\d+.*\n", done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_flag_is_documented(command):
    text = REFERENCE.read_text()
    section = text.partition(f"## `envkit {command}")[2].partition("\n## ")[0]
    assert section, f"docs/reference/cli.md says nothing of envkit {command}"
    flags = set(re.findall(r"--[a-z][a-z-]+", help_of(command))) - {"--help"}
    assert "--json" in flags
    assert {flag for flag in flags - {"--json"} if f"`{flag}" not in section} == set()


def test_list_imports_no_pack_and_no_engine():
    code = (
        "import sys; from envkit.cli import main; main(['list', '--json'])\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stderr.split())
    assert not loaded & {"envkit_desk", "envkit_validators", "docker", "requests", "rich.table"}


def test_list_says_what_the_contract_says(envkit):
    rows = envkit("list", "--json").json
    (row,) = (row for row in rows if row["env"] == "desk/logdesk")
    assert row["dist"] == "envkit-desk"
    assert row["version"] == 1
    assert row["adapters"] == ["terminal"]
    assert row["splits"] == {"train": 2000, "test": 500}
    assert "desk/logdesk" in envkit("list").out


def test_doctor_says_what_works_and_what_to_do(envkit):
    done = envkit("doctor", "--json")
    assert done.status in (0, 3)
    checks = {check["name"]: check for check in done.json["checks"]}
    assert checks["python"]["state"] == "ok"
    assert {"bubblewrap", "docker", "openai"} <= set(checks)
    assert all(check["remedy"] for check in checks.values() if check["state"] == "missing")


@pytest.mark.parametrize("argv", [["--version"], ["--help"]])
def test_asking_what_it_is(envkit, argv):
    done = envkit(*argv)
    assert (done.status, done.err) == (0, "")
    assert done.out
