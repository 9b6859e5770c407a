"""Each kind of bad input: one clear error, the right exit status, nothing else falls over."""

from __future__ import annotations

import gc
import json
import shlex
import subprocess
import sys

import pytest

MANIFEST = {
    "schema_version": 1,
    "envs": {
        "world": {
            "class": "PACKAGE.world:World",
            "version": 1,
            "summary": "Reach a total.",
            "splits": {"train": 20, "test": 5},
        }
    },
}


def manifest(package: str) -> str:
    return json.dumps(MANIFEST).replace("PACKAGE", package)


def one_error(done, status: int, *words: str) -> None:
    assert done.status == status, done.err
    said = [line for line in done.err.splitlines() if not line.startswith("envkit: warning: ")]
    assert said[0].startswith("envkit: error: ")
    assert len(said) <= 2
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('Task(prompt=', 'Task(promt="x", prompt=', ["promt"]),
        ("gold=Gold(total=total)", 'gold={"total": "many"}', ["gold", "total"]),
        ('"table": {"x": 0}', '"shell": {}, "table": {"x": 0}', ["'shell'", "table"]),
        ('"table": {"x": 0}', '"table": {"x": "no"}', ["table"]),
        ("@staticmethod\n    def grade(", "def grade(self, ", ["grade", "static"]),
        ("class World", "class Earth", ["World"]),
        ("import Data", "import Nothing", ["Nothing"]),
        ("import Data", "import (", ["SyntaxError"]),
        ("total = rng.randint(3, 9)", "total = 1 / 0", ["ZeroDivisionError"]),
        ("return Task(", "return dict(", ["dict", "Task"]),
        ('{"train": 20, "test": 5}', "{}", ["World.splits", "world.py, line 12"]),
        ('{"train": 20, "test": 5}', '["train"]', ["World.splits", "sizes by name"]),
        ('{"train": 20, "test": 5}', '{"train": "many"}', ["World.splits", "'many'"]),
        ("[table.frozen()]", '["table/value.json"]', ["World.evidence", "str"]),
        ("[table.frozen()]", "table.frozen()", ["World.evidence", "list"]),
        ("[table.frozen()]", "[Terminal().files('x')]", ["World.evidence", "table"]),
        ("[table.frozen()]", "[shell.files('x')]", ["'shell'", "world.py, line 17"]),
        ("    splits =", '    version = "one"\n    splits =', ["World.version"]),
        ("    splits =", "    class Config: pass\n    splits =", ["World.Config", "pydantic"]),
        ("@classmethod\n    def task", "def task", ["World.task", "@classmethod"]),
        ("table = Data", "other = table = Data", ["World.table", "'other'"]),
    ],
)  # fmt: skip
def test_what_an_author_got_wrong(envkit, world, old, new, words):
    one_error(envkit("rollout", world(old, new)), 2, *words)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["rollout"], ["which environment", "envkit list"]),
        (["rollout", "not a spec"], ["not an environment spec"]),
        (["rollout", "nopack/x"], ["no pack is called 'nopack'", "desk"]),
        (["rollout", "desk/nope"], ["no environment 'nope'", "logdesk"]),
        (["rollout", "desk"], ["is a pack", "desk/bugfix, desk/logdesk"]),
        (["attack", "desk/logdesk", "--tasks", "3000"], ["2000"]),
        (["rollout", "desk/logdesk@99"], ["version 1"]),
        (["rollout", "desk/logdesk?levle=hard"], ["levle", "level"]),
        (["rollout", "file:nothing.py:World"], ["no such file"]),
        (["rollout", "nosource:x"], ["nosource"]),
        (["rollout", "desk/logdesk", "--tasks", "0"], ["--tasks"]),
        (["rollout", "desk/logdesk", "--tasks", "3000"], ["2000"]),
        (["rollout", "desk/logdesk", "--tasks", "many"], ["--tasks"]),
        (["rollout", "desk/logdesk", "--backend", "podman"], ["--backend", "bubblewrap"]),
        (["rollout", "desk/logdesk", "--policy", "orcale"], ["orcale", "oracle"]),
        (["rollout", "desk/logdesk", "--policy", "script:no.py"], ["no.py"]),
        (["rollout", "desk/logdesk", "--temperature", "1"], ["--temperature", "openai"]),
        (["rollout", "desk/logdesk", "--policy", "openai:m", "--price", "3"], ["IN:OUT"]),
        (["rollout", "desk/logdesk", "--show"], ["--task"]),
        (["rollout", "desk/logdesk", "--resume"], ["--out"]),
        (["rollout", "desk/logdesk", "--task", "third"], ["index"]),
        (["rollout", "desk/logdesk", "--task", "4000"], ["task 4000", "2000"]),
        (["rollout", "desk/logdesk", "--salt-file", "no"], ["salt file no", "openssl"]),
        (["rollout", "desk/logdesk", "--out", "/proc/x"], ["--out /proc/x"]),
        (["rollout", "--config", "no.toml"], ["no.toml"]),
        (["rollout", "--nope"], ["--nope"]),
        (["validate", "nope"], ["no pack is called 'nope'"]),
        (["validate", "."], ["pyproject.toml"]),
        (["new", "Not-a-name"], ["'not_a_name'"]),
        (["new", "desk"], ["installed already"]),
        (["bench", "nothing"], ["core"]),
        (["nothing"], ["nothing"]),
    ],
)
def test_wrong_use(envkit, argv, words):
    one_error(envkit(*argv), 2, *words)


def test_a_script_that_breaks_is_told_with_its_line(envkit, world):
    done = envkit(
        "rollout", world('yield call("add", n=task.gold.total)', "yield 1 / 0"), "--tasks", 1
    )
    assert done.status == 1
    assert "script raised ZeroDivisionError at world.py:" in done.err


def test_near_misses_that_are_no_mapping(envkit, world):
    spec = world(
        'return {"less": play(task.gold.total - 1), "more": play(task.gold.total + 1)}',
        "return [play(1)]",
    )
    done = envkit("rollout", spec, "--policy", "near-misses", "--tasks", 1)
    assert done.status == 1
    assert "near_misses gave a list" in done.err
    assert "Traceback" not in done.err


def test_a_run_in_which_nothing_was_played_says_so(envkit, world):
    done = envkit("rollout", world("def near_misses", "def near"), "--policy", "near-misses")
    assert done.status == 1
    assert "nothing was played: near_misses()" in done.err


def test_an_oracle_that_falls_short_is_told_how_to_see_why(envkit, world, tmp_path):
    spec = world('"table/value.json"', '"table/valeu.json"')
    done = envkit("rollout", spec, "--tasks", 2, "--out", "run")
    assert done.status == 1
    assert "the oracle left 2 of 2 unsolved" in done.err
    shown = envkit("rollout", "--out", "run", "--task", "0", "--show")
    assert shown.status == 0
    assert "total: 0" in shown.out


def test_what_a_tool_raised_is_said_in_one_line(envkit, world):
    done = envkit("rollout", world('["x"] += n', '["y"] += n'), "--tasks", 1)
    assert "envkit: warning: tool add raised: KeyError: 'y'\n" in done.err


@pytest.mark.parametrize("flag", ["--md", "--out"])
def test_a_report_that_cannot_be_kept_is_refused_before_anything_is_played(
    envkit, world, monkeypatch, flag
):
    monkeypatch.setattr("envkit.audit.audit.audit", None)  # playing would fail otherwise
    one_error(envkit("audit", world(), flag, "/proc/x/report"), 2, "/proc/x/report")


def test_a_wrong_setting_in_a_file_is_named_with_what_was_meant(envkit, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('spec = "desk/logdesk"\nconcurency = 3\n')
    one_error(envkit("rollout", "--config", path), 2, "concurency", "'concurrency'")
    path.write_text('spec = "desk/logdesk"\ntasks = "few"\n')
    one_error(envkit("rollout", "--config", path), 2, "run.toml: tasks", "few")
    path.write_text("spec = [")
    one_error(envkit("rollout", "--config", path), 2, "not TOML")


def test_a_file_that_exits_is_wrong_use(envkit, tmp_path):
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    one_error(envkit("rollout", "file:leaves.py:W"), 2, "leaves.py", "SystemExit")


def test_a_library_that_is_missing_is_named_with_what_brings_it(envkit, world, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    spec = world("from random import Random", "from random import Random; import fastapi")
    one_error(envkit("rollout", spec), 2, "fastapi", "pip install 'envkit[api]'")


def test_an_error_is_the_one_document_where_json_was_asked_for(envkit):
    done = envkit("rollout", "nopack/x", "--json")
    assert done.json["status"] == 2
    assert "nopack" in done.json["error"]


def test_debug_shows_where_it_came_from(envkit):
    assert "Traceback" in envkit("--debug", "rollout", "nopack/x").err
    assert "Traceback" in envkit("rollout", "nopack/x", "--debug").err


def test_another_run_in_the_folder_is_refused_and_kept(envkit, world, tmp_path):
    out = tmp_path / "run"
    envkit("rollout", world(), "--tasks", 2, "--out", out)
    kept = (out / "episodes.jsonl").read_bytes()
    one_error(envkit("rollout", world(), "--tasks", 2, "--out", out), 2, "--resume")
    done = envkit("rollout", "--resume", "--out", out, "--seed", 7)
    one_error(done, 2, "seed")
    world("rng.randint(3, 9)", "rng.randint(3, 5)")
    assert (out / "episodes.jsonl").read_bytes() == kept


def test_two_packs_of_one_name(envkit, install):
    install("one-dist", "twin", manifest("one_dist"))
    install("two-dist", "twin", manifest("two_dist"))
    one_error(envkit("rollout", "twin/world"), 2, "one-dist and two-dist", "uninstall one")
    listed = envkit("list", "--json")
    assert listed.status == 0
    assert {row["env"].partition("/")[0] for row in listed.json} >= {"desk"}
    assert "twin" not in listed.out
    assert "two packs are called 'twin'" in listed.err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "has no envkit.json"),
        ("{", "envkit.json"),
        ('{"schema_version": 1, "envs": {"a": {"version": 1}}}', "envs.a.class"),
        ('{"schema_version": 9, "envs": {}}', "schema_version"),
    ],
)
def test_a_broken_pack_beside_good_ones(envkit, install, text, why):
    install("bad-dist", "bad", text)
    listed = envkit("list", "--json")
    assert listed.status == 0
    listed_packs = {row["env"].partition("/")[0] for row in listed.json}
    assert "desk" in listed_packs
    assert "bad" not in listed_packs
    assert why in listed.err
    one_error(envkit("rollout", "bad/a"), 2, "broken", why)
    checked = envkit("validate", "bad", "--json")
    assert checked.status == 1
    assert checked.json["findings"][0]["rule"] == "structure.manifest"


# docker-py leaves its socket to the collector when it can't connect
unclosed = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@unclosed
def test_no_engine_answers(envkit, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    done = envkit("rollout", "desk/logdesk", "--backend", "docker", "--tasks", "2")
    one_error(done, 3, "no container engine answers")
    gc.collect()  # here, where it is expected


@unclosed
def test_nothing_to_run_sandboxes_in(envkit, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setenv("PATH", str(tmp_path))
    one_error(envkit("rollout", "desk/logdesk", "--tasks", "2"), 3, "apt install bubblewrap")
    checked = envkit("doctor", "--json")
    assert (checked.status, checked.json["backends"]) == (3, [])
    gc.collect()


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
    ],
)
def test_an_image_that_is_missing(envkit, world, backend):
    spec = world("table = Data", 'shell = Terminal(image="no/such:image")\n    table = Data')
    done = envkit("rollout", spec, "--backend", backend, "--tasks", "2")
    one_error(done, 3, "'no/such:image' is not on this machine")


def run_with(redirection: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, its streams as a shell's redirection leaves them."""
    main = "import sys; from envkit.cli import main; sys.exit(main())"
    command = shlex.join([sys.executable, "-c", main, *argv])
    return subprocess.run(
        ["bash", "-c", f"{command} {redirection}"], check=False, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("redirection", "argv", "status"),
    [
        (">&-", ["list"], 0),
        (">&-", ["list", "--json"], 0),
        ("2>&-", ["rollout", "nopack/x"], 2),
        (">&- 2>&-", ["rollout", "nopack/x", "--json"], 2),
    ],
)
def test_a_closed_stream_swallows_what_is_said_and_nothing_else(redirection, argv, status):
    done = run_with(redirection, *argv)
    assert (done.returncode, done.stderr) == (status, "")


@pytest.mark.parametrize("json_or_not", [[], ["--json"]])
def test_a_full_disk_is_one_line(json_or_not):
    done = run_with("> /dev/full", "list", *json_or_not)
    assert done.returncode == 3
    assert done.stderr == "envkit: error: No space left on device; make room, and try again\n"


@pytest.mark.parametrize("json_or_not", [[], ["--json"]])
def test_a_reader_that_has_seen_enough_is_no_error(json_or_not):
    done = run_with("| true; exit ${PIPESTATUS[0]}", "list", *json_or_not)
    assert (done.returncode, done.stderr) == (0, "")


def test_names_are_whole_on_a_narrow_screen(envkit, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    shown = envkit("list").out
    assert "desk/logdesk " in shown
    assert "shop/checkout " in shown
    assert max(map(len, shown.splitlines())) <= 60
