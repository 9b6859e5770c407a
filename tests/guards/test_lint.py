"""Each rule has a grader that breaks it and a twin that does not."""

import importlib.util
import textwrap

import pytest

from envkit.guards.static.lint import RULES, lint
from envkit.registry import packs, resolve

HEAD = """
from pydantic import BaseModel
from envkit import *
from envkit_validators import exact
import random, json, os, pickle

class Gold(BaseModel):
    host: str
    when: str = ""

"""
HONEST = 'return Score.all(host=exact(evidence.answer, gold.host), when=exact(evidence.text("w"), gold.when))'

BROKEN = {
    "constant": ("return Score(1.0)", HONEST),
    "gold-unread": ("return Score.all(said=bool(evidence.answer))", HONEST),
    "except-pays": (
        f"try:\n    {HONEST}\nexcept Exception:\n    return Score(1.0)",
        f"try:\n    {HONEST}\nexcept ValueError:\n    return Score(0.0)",
    ),
    "runs-text": (
        "return Score.all(ok=eval(evidence.answer) == gold.host, when=gold.when == '')",
        "return Score.all(ok=json.loads(evidence.answer) == gold.host, when=gold.when == '')",
    ),
    "loads-code": (
        "return Score.all(ok=pickle.loads(evidence.content('a')) == gold.host, when=gold.when == '')",
        "return Score.all(ok=evidence.json('a') == gold.host, when=gold.when == '')",
    ),
    "impure": (f"os.listdir('/')\n{HONEST}", HONEST),
    "not-deterministic": (
        f"if random.random() < 0.5:\n    return Score(0.0)\n{HONEST}",
        f"if evidence.rng().random() < 0.5:\n    return Score(0.0)\n{HONEST}",
    ),
    "global": (f"global SEEN\nSEEN = 1\n{HONEST}", f"seen = 1\n{HONEST}"),
    "substring": (
        "return Score.all(host=gold.host in evidence.answer, when=gold.when == '')",
        "return Score.all(host=evidence.answer in (gold.host, gold.when))",
    ),
    "source-grep": (
        f"if 'import' in str(evidence.text('a')):\n    return Score(0.0)\n{HONEST}",
        f"if 'panic' in str(evidence.text('a')):\n    return Score(0.0)\n{HONEST}",
    ),
    "field-unread": ("return Score.all(host=exact(evidence.answer, gold.host))", HONEST),
}


def env(tmp_path, body, more=""):
    path = tmp_path / f"made_{abs(hash(body + more))}.py"
    grade = textwrap.indent(body, " " * 8)
    path.write_text(
        f"{more}{HEAD}class Made(Env[Gold]):\n    @staticmethod\n    def grade(evidence, gold):\n{grade}\n"
    )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[path.stem] = module  # inspect finds the source through it
    spec.loader.exec_module(module)
    return module.Made


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_tells_a_broken_grader_from_its_twin(rule, tmp_path):
    broken, twin = (env(tmp_path, body) for body in BROKEN[rule])
    assert f"grader.{rule}" in {finding.rule for finding in lint(broken, "made")}
    assert f"grader.{rule}" not in {finding.rule for finding in lint(twin, "made")}


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("import time as clock\n", "not-deterministic"), ("from time import monotonic as clock\n", "not-deterministic"),
        ("from os import getcwd as clock\n", "impure"), ("from pickle import loads as clock\n", "loads-code"),
        ("from pathlib import PurePath as clock\n", None), ("from random import Random as clock\n", None),
    ],
)  # fmt: skip
def test_another_name_for_a_module_hides_nothing(line, rule, tmp_path):
    use = "clock.time()" if line.startswith("import") else "clock()"
    made = env(tmp_path, f"{use}\n{HONEST}", line)
    assert {finding.rule for finding in lint(made, "made")} == (
        {f"grader.{rule}"} if rule else set()
    )


def test_helpers_of_the_same_module_are_read(tmp_path):
    path_body = "return helper(evidence, gold)"
    made = env(tmp_path, path_body)
    assert lint(made, "made") == []


def test_an_honest_grader_has_no_finding(tmp_path):
    assert lint(env(tmp_path, HONEST), "made") == []


def test_there_is_a_case_for_every_rule():
    assert len(BROKEN) >= len(RULES)


def test_bundled_graders_are_clean():
    for pack in packs():
        for name in pack.manifest.envs if pack.manifest else ():
            found = lint(resolve(f"{pack.name}/{name}").env, name)
            assert [finding for finding in found if finding.severity != "low"] == [], name
