"""Lint of graders: what their source shows without running them. One rule a function.

Read is `grade` and every function of the same module that it calls, directly or through others.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel

from envkit.data.score import Finding, Severity
from envkit.env import Env

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

_RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
_LOADS_CODE = {"pickle", "marshal", "shelve", "dill", "joblib", "yaml"}
_LEAVES_THE_ROOM = {
    "os", "subprocess", "socket", "urllib", "requests", "httpx", "shutil", "pathlib", "tempfile",
    "importlib", "ctypes", "multiprocessing", "threading",
}  # fmt: skip
_CHANGES_BY_ITSELF = {"random", "secrets", "time", "uuid"}
_PURE = {
    "Random",
    "UUID",
    "PurePath",
    "PurePosixPath",
    "PureWindowsPath",
}  # change nothing, ask nobody
_SOURCE_WORDS = {"import", "def ", "class ", "return", "lambda", "eval(", "exec(", "open("}
_REWARDING = {"Score", "passed", "all", "any", "weighted", "gate", "Check"}


@dataclass(frozen=True)
class GraderView:
    """The source of one grader, parsed."""

    env: type[Env[Any]]
    place: str

    @cached_property
    def functions(self) -> list[Function]:
        """`grade`, and what it calls in its own module."""
        grade = ast.parse(textwrap.dedent(inspect.getsource(self.env.grade))).body[0]
        module = inspect.getmodule(self.env.grade)
        tree = ast.parse(inspect.getsource(module)) if module else ast.Module([], [])
        beside = {node.name: node for node in tree.body if isinstance(node, Function)}
        reached: dict[str, Function] = {}
        left = [grade] if isinstance(grade, Function) else []
        while left:
            function = left.pop()
            reached[function.name] = function
            names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
            left += [beside[name] for name in names & beside.keys() if name not in reached]
        return list(reached.values())

    @cached_property
    def imported(self) -> tuple[dict[str, str], dict[str, str]]:
        """By the name that the code uses: the module that it is, and the module that it was taken from."""
        module = inspect.getmodule(self.env.grade)
        tree = ast.parse(inspect.getsource(module)) if module else ast.Module([], [])
        modules: dict[str, str] = {}
        taken: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules |= {
                    (n.asname or n.name).partition(".")[0]: n.name.partition(".")[0]
                    for n in node.names
                }
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                above = node.module.partition(".")[0]
                taken |= {n.asname or n.name: above for n in node.names if n.name not in _PURE}
        return modules, taken

    def uses(self) -> Iterator[tuple[ast.AST, str]]:
        """Every use of what may be a module's, with the module's own name, whatever the code calls it."""
        modules, taken = self.imported
        for _, node in self.walk():
            if isinstance(node, ast.Attribute) and (root := _root(node)):
                yield node, modules.get(root, root)
            elif isinstance(node, ast.Name) and node.id in taken:
                yield node, taken[node.id]

    @property
    def grade(self) -> Function:
        """`grade` itself."""
        return self.functions[0]

    def walk(self) -> Iterator[tuple[Function, ast.AST]]:
        """Every node, with the function that it is in."""
        for function in self.functions:
            for node in ast.walk(function):
                yield function, node

    def finding(
        self, rule: str, severity: Severity, node: ast.AST, why: tuple[str, str]
    ) -> Finding:
        """A finding at a node: what was seen, and what to do."""
        source = inspect.getsourcefile(self.env) or "?"
        shown = f"def {node.name}" if isinstance(node, Function) else ast.unparse(node)
        seen = f"{Path(source).name}: {why[0]}: `{shown.splitlines()[0][:100]}`"
        return Finding(f"grader.{rule}", severity, self.place, seen, why[1])


Rule: TypeAlias = Callable[[GraderView], Iterator[Finding]]


def lint(env: type[Env[Any]], place: str) -> list[Finding]:
    """All findings about a class's grader."""
    seen = GraderView(env, place)
    return [finding for rule in RULES for finding in rule(seen)]


# ---- rules ---------------------------------------------------------------------------------------


def reads_nothing(seen: GraderView) -> Iterator[Finding]:
    """A grader that does not look at the evidence gives the same verdict to everybody."""
    first, *rest = [argument.arg for argument in seen.grade.args.args] or [""]
    names = {node.id for node in ast.walk(seen.grade) if isinstance(node, ast.Name)}
    if first not in names:
        why = ("the evidence is never read", "judge what the agent left")
        yield seen.finding("constant", "high", seen.grade, why)
    elif rest and rest[0] not in names and _holds_something(seen.env):
        why = ("the gold is never read", "compare with it, or declare no gold")
        yield seen.finding("gold-unread", "medium", seen.grade, why)


def fails_upwards(seen: GraderView) -> Iterator[Finding]:
    """An `except` that returns a reward pays whoever breaks the grader."""
    for _, node in seen.walk():
        if isinstance(node, ast.ExceptHandler):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and _rewards(inner.value):
                    why = ("an error is paid", "let it raise, or return failed(...)")
                    yield seen.finding("except-pays", "high", inner, why)


def runs_what_it_reads(seen: GraderView) -> Iterator[Finding]:
    """`eval`, pickles and their like hand the judge to the agent."""
    for _, node in seen.walk():
        named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if named and node.func.id in _RUNS_TEXT:  # type: ignore[attr-defined]  # told above
            why = ("text becomes code", "parse it: evidence.json, strict_json, a validator")
            yield seen.finding("runs-text", "critical", node, why)
    for used, module in seen.uses():
        if module in _LOADS_CODE:
            why = ("loading runs code", "use JSON: evidence.json")
            yield seen.finding("loads-code", "critical", used, why)


def leaves_the_room(seen: GraderView) -> Iterator[Finding]:
    """A pure grader opens no file, starts no process, and asks nobody."""
    for _, node in seen.walk():
        opens = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if opens and node.func.id == "open":  # type: ignore[attr-defined]  # told above
            why = ("it opens a file", "declare what is needed as evidence")
            yield seen.finding("impure", "high", node, why)
    for used, module in seen.uses():
        if module in _LEAVES_THE_ROOM:
            why = ("it reaches outside", "declare what is needed as evidence, or yield a probe")
            yield seen.finding("impure", "high", used, why)


def changes_by_itself(seen: GraderView) -> Iterator[Finding]:
    """The same evidence must get the same verdict tomorrow."""
    for node, module in seen.uses():
        clock = isinstance(node, ast.Attribute) and node.attr in ("now", "today", "utcnow")
        if (clock and module in ("datetime", "date")) or module in _CHANGES_BY_ITSELF:
            why = ("it changes by itself", "draw with evidence.rng(); take times from the evidence")
            yield seen.finding("not-deterministic", "high", node, why)


def keeps_state(seen: GraderView) -> Iterator[Finding]:
    """What one grading leaves behind must not reach the next."""
    for _, node in seen.walk():
        if isinstance(node, ast.Global):
            why = ("it writes a global", "pass values by arguments")
            yield seen.finding("global", "medium", node, why)


def looks_for_a_substring(seen: GraderView) -> Iterator[Finding]:
    """`gold.x in text` is satisfied by whoever lists every answer."""
    gold = _gold_name(seen)
    for function, node in seen.walk():
        if function is seen.grade and isinstance(node, ast.Compare):
            is_in = any(isinstance(operator, ast.In) for operator in node.ops)
            if is_in and _mentions(node.left, gold) and not _mentions(node.comparators[0], gold):
                why = ("a listing of all answers satisfies it", "compare the whole: exact, one_of")
                yield seen.finding("substring", "high", node, why)


def greps_source(seen: GraderView) -> Iterator[Finding]:
    """Words sought in source code are spelled another way by whoever wants to."""
    for _, node in seen.walk():
        left = node.left if isinstance(node, ast.Compare) else None
        if isinstance(left, ast.Constant) and str(left.value) in _SOURCE_WORDS:
            why = ("source is judged by its words", "judge what it does: subject.call")
            yield seen.finding("source-grep", "medium", node, why)


def leaves_gold_unread(seen: GraderView) -> Iterator[Finding]:
    """A field of the gold that no grader reads is a wish that nobody checks; a script's own notes are no wish."""
    model, gold = seen.env._gold, _gold_name(seen)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return
    read = {node.attr for _, node in seen.walk() if isinstance(node, ast.Attribute)}
    if _passed_whole(seen, gold):
        return
    scripts = inspect.getsource(seen.env)
    for field in model.model_fields:
        if field not in read:
            severity: Severity = "low" if f".{field}" in scripts else "medium"
            why = (f"gold.{field} is never read", "check it, or leave it out of the gold")
            yield seen.finding("field-unread", severity, seen.grade, why)


RULES: tuple[Rule, ...] = (
    reads_nothing, fails_upwards, runs_what_it_reads, leaves_the_room, changes_by_itself,
    keeps_state, looks_for_a_substring, greps_source, leaves_gold_unread,
)  # fmt: skip


# ---- reading -------------------------------------------------------------------------------------


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _mentions(node: ast.AST, name: str) -> bool:
    return any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(node))


def _gold_name(seen: GraderView) -> str:
    arguments = seen.grade.args.args
    return arguments[1].arg if len(arguments) > 1 else ""


def _passed_whole(seen: GraderView, gold: str) -> bool:
    """Whether `gold` goes somewhere as one thing: an argument, a comparison, a method such as model_dump."""
    owners = {
        id(node.value)
        for _, node in seen.walk()
        if isinstance(node, ast.Attribute) and not node.attr.startswith("model_")
    }
    whole = (n for _, n in seen.walk() if isinstance(n, ast.Name) and n.id == gold)
    return any(id(node) not in owners for node in whole)


def _holds_something(env: type[Env[Any]]) -> bool:
    model = env._gold
    fields = isinstance(model, type) and issubclass(model, BaseModel) and model.model_fields
    return bool(fields)


def _rewards(value: ast.expr | None) -> bool:
    """Whether a returned expression may be more than nothing."""
    if isinstance(value, ast.Constant):
        return bool(value.value)
    if not isinstance(value, ast.Call):
        return value is not None
    name = value.func.attr if isinstance(value.func, ast.Attribute) else _root(value.func)
    zeros = [a for a in value.args if isinstance(a, ast.Constant) and a.value in (0, False)]
    return name in _REWARDING and not zeros
