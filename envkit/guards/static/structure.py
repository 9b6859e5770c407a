"""The structure of a pack: what can be told without opening a world. One rule a function."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from envkit.data.score import Finding, Severity
from envkit.data.task import PublicTask, Task
from envkit.env import Env
from envkit.errors import EnvkitError
from envkit.guards.static.view import PackView, view
from envkit.judge.keys import PUBLIC_SALT, TaskKey
from envkit.judge.worker import AuthorError, Worker

Rule: TypeAlias = Callable[[PackView], Iterator[Finding]]

DRAWN = 3  # tasks of each split
FEW_NEAR_MISSES = 2
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_RANK: dict[Severity, int] = {"info": 0, "low": 1, "medium": 2, "high": 3, "critical": 4}


def check(target: str) -> tuple[list[Finding], str]:
    """All findings about a pack, by name or folder, worst first; its digest. Raises UsageError."""
    seen = view(target)
    findings = [finding for rule in RULES for finding in rule(seen)]
    return sorted(findings, key=lambda finding: -_RANK[finding.severity]), seen.digest


def falls_short(findings: list[Finding]) -> bool:
    """Whether anything is of medium severity or worse."""
    return any(_RANK[finding.severity] >= _RANK["medium"] for finding in findings)


# ---- the package ---------------------------------------------------------------------------------


def entry_point(seen: PackView) -> Iterator[Finding]:
    """One distribution announces the pack, under a name that a spec can hold."""
    rule, place = "structure.entry_point", seen.place()
    for other in seen.doubles:
        dists = f"{seen.pack.dist} and {other.dist}"
        yield Finding(
            rule, "high", place, f"two packs have this name, from {dists}", "uninstall one"
        )
    if not _NAME.fullmatch(seen.pack.name):
        evidence = f"{seen.pack.name!r} does not fit into a spec"
        yield Finding(rule, "high", place, evidence, "use small letters, digits, - and _")


def manifest(seen: PackView) -> Iterator[Finding]:
    """`envkit.json` is there, reads, and lists environments."""
    rule = "structure.manifest"
    if seen.pack.manifest is None:
        remedy = "write envkit.json into the top package (envkit new shows one) and ship it"
        yield Finding(rule, "high", seen.place(), seen.pack.problem, remedy)
        return
    if not seen.pack.manifest.envs:
        yield Finding(rule, "high", seen.place(), "envkit.json lists no environment", "add one")
    for name in seen.pack.manifest.envs:
        if not _NAME.fullmatch(name):
            remedy = "use small letters, digits, - and _"
            yield Finding(rule, "high", seen.place(name), f"{name!r} is no name", remedy)


def loads(seen: PackView) -> Iterator[Finding]:
    """Each class named in `envkit.json` imports and is an Env."""
    for name, why in seen.broken.items():
        remedy = "mend what the message names, or the class in envkit.json"
        yield Finding("structure.class", "high", seen.place(name), why, remedy)


def dependencies(seen: PackView) -> Iterator[Finding]:
    """The pack depends on envkit, below the next version that may break it."""
    if not seen.pyproject:
        return
    rule, place = "structure.dependencies", f"{seen.place()}: pyproject.toml"
    named: list[str] = seen.pyproject.get("project", {}).get("dependencies", [])
    ours = [text for text in named if re.match(r"envkit(?![\w-])", text)]
    if not ours:
        remedy = 'dependencies = ["envkit>=0.1,<0.2"]'
        yield Finding(rule, "medium", place, "it does not depend on envkit", remedy)
    elif "<" not in ours[0] and "==" not in ours[0] and "~=" not in ours[0]:
        yield Finding(rule, "low", place, f"{ours[0]!r} has no upper bound", "envkit>=0.1,<0.2")


def readme(seen: PackView) -> Iterator[Finding]:
    """The README names every environment."""
    if seen.project is None:
        return
    rule, path = "structure.readme", seen.project / "README.md"
    if not path.is_file():
        remedy = "say what the environments ask for and how they judge"
        yield Finding(rule, "medium", seen.place(), "there is no README.md", remedy)
        return
    text = path.read_text("utf-8", "replace")
    for name in seen.pack.manifest.envs if seen.pack.manifest else ():
        if seen.place(name) not in text:
            evidence = f"README.md does not mention {seen.place(name)}"
            yield Finding(rule, "low", seen.place(name), evidence, "say what it asks for")


def tests(seen: PackView) -> Iterator[Finding]:
    """The pack is held to the conformance suite."""
    if seen.project is None:
        return
    files = seen.project.glob("tests/**/test_*.py")
    if not any("PackConformance" in path.read_text("utf-8", "replace") for path in files):
        remedy = f'class TestIt(envkit.testing.PackConformance): pack = "{seen.pack.name}"'
        evidence = "no test in tests/ inherits PackConformance"
        yield Finding("structure.tests", "medium", seen.place(), evidence, remedy)


def imports(seen: PackView) -> Iterator[Finding]:
    """The pack uses public names alone."""
    for path in sorted(seen.pack.folder.rglob("*.py")) if seen.pack.folder else ():
        for private in _private_imports(path):
            place = f"{seen.place()}: {path.name}"
            remedy = "import from `envkit` (or `envkit_validators`) itself"
            yield Finding("structure.imports", "medium", place, f"imports {private}", remedy)


def _private_imports(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # `structure.class` says so, where the file matters
        return
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        yield from (name for name in names if re.match(r"(envkit|envkit_validators)\.", name))


# ---- each environment ----------------------------------------------------------------------------


def _classes(seen: PackView) -> Iterator[tuple[str, type[Env[Any]]]]:
    for name, resolved in seen.resolved.items():
        yield name, resolved.env


def agrees(seen: PackView) -> Iterator[Finding]:
    """`envkit.json` says of each environment what its class says."""
    for name, env in _classes(seen):
        entry = seen.pack.manifest.envs[name]  # type: ignore[union-attr] # classes come from it
        adapters = sorted({type(adapter).__name__.lower() for adapter in env._adapters.values()})
        pairs: dict[str, tuple[Any, Any]] = {
            "version": (entry.version, env.version),
            "splits": (dict(entry.splits), dict(env.splits)),
            "adapters": (sorted(entry.adapters), adapters),
        }
        for what, (said, is_) in pairs.items():
            if said != is_:
                evidence = f"envkit.json says {what} {said}, the class {is_}"
                yield Finding(
                    f"structure.{what}", "high", seen.place(name), evidence, "make them one"
                )


def splits(seen: PackView) -> Iterator[Finding]:
    """There are splits, and each holds something."""
    for name, env in _classes(seen):
        if not env.splits:
            remedy = 'splits = {"train": None}'
            yield Finding("structure.splits", "high", seen.place(name), "it has no split", remedy)
        for split, size in env.splits.items():
            if size is not None and (type(size) is not int or size <= 0):
                evidence = f"split {split!r} has the size {size!r}"
                remedy = "a positive number, or None for endless"
                yield Finding("structure.splits", "high", seen.place(name), evidence, remedy)


def docstring(seen: PackView) -> Iterator[Finding]:
    """The class says what the agent has to do."""
    for name, env in _classes(seen):
        if not (vars(env).get("__doc__") or "").strip():
            remedy = "its first line says what the agent has to do"
            evidence = f"{env.__name__} has no docstring"
            yield Finding("structure.docstring", "medium", seen.place(name), evidence, remedy)


def judged(seen: PackView) -> Iterator[Finding]:
    """The class grades."""
    for name, env in _classes(seen):
        if env.grade is Env.grade:
            evidence = f"{env.__name__} has no grade"
            remedy = "write the static method grade(evidence, gold)"
            yield Finding("structure.grade", "high", seen.place(name), evidence, remedy)


def task_draws(seen: PackView) -> Iterator[Finding]:
    """The first tasks of each split are made, validate, and come out the same twice."""
    for name, resolved in seen.resolved.items():
        for split in resolved.env.splits:
            try:
                first, second = (
                    [_digest(seen, name, split, i) for i in range(DRAWN)] for _ in "ab"
                )
            except (EnvkitError, AuthorError) as error:
                remedy = "mend task(); every field of it is checked"
                yield Finding("structure.task_draws", "high", seen.place(name), str(error), remedy)
                continue
            if first != second:
                evidence = f"split {split!r}: the same key makes another task"
                remedy = "draw from rng alone; no clock, no set order, no global state"
                yield Finding("structure.task_draws", "high", seen.place(name), evidence, remedy)


def _digest(seen: PackView, name: str, split: str, index: int) -> str:
    resolved = seen.resolved[name]
    size = resolved.env.splits[split]
    if size is not None and index >= size:
        return ""
    public = Worker(resolved, PUBLIC_SALT).draw(split, index)["public"]
    return PublicTask.model_validate_json(public).digest


def _first_task(seen: PackView, name: str) -> Task[Any] | None:
    """Task 0 of the first split, for rules about scripts; None where `task_draws` says why."""
    resolved = seen.resolved[name]
    split = next(iter(resolved.env.splits), None)
    if split is None:
        return None
    key = TaskKey.of(PUBLIC_SALT, str(resolved.spec), split, 0)
    try:
        made = resolved.env.task(split, 0, key.rng())
    except Exception:  # noqa: BLE001 - an author's code may raise anything
        return None
    return made if isinstance(made, Task) else None


def oracle(seen: PackView) -> Iterator[Finding]:
    """`solve` is written, and is a generator of actions."""
    rule = "structure.oracle"
    for name, env in _classes(seen):
        if env.solve is Env.solve:
            remedy = "write solve: what nobody can do proves nothing"
            yield Finding(rule, "high", seen.place(name), f"{env.__name__} has no solve", remedy)
        elif (task := _first_task(seen, name)) is not None:
            why = _no_script(lambda env=env, task=task: env.solve(task))  # type: ignore[misc] # its lambda
            if why:
                remedy = "solve must `yield` its actions: call(...), say(...)"
                yield Finding(rule, "high", seen.place(name), f"solve {why}", remedy)


def near_misses(seen: PackView) -> Iterator[Finding]:
    """There are near-misses enough, and each is a generator."""
    rule = "structure.near_misses"
    for name, env in _classes(seen):
        task = _first_task(seen, name)
        if task is None:
            continue
        try:
            scripts = dict(env.near_misses(task))
        except Exception as error:  # noqa: BLE001 - an author's code may raise anything
            evidence = f"near_misses raises {type(error).__name__}: {error}"
            yield Finding(rule, "high", seen.place(name), evidence, "mend it")
            continue
        if len(scripts) < FEW_NEAR_MISSES:
            evidence = f"{len(scripts)} near-misses; at least {FEW_NEAR_MISSES} are needed"
            remedy = "add scripts that are almost right; every one must score below 1"
            yield Finding(rule, "medium", seen.place(name), evidence, remedy)
        for variant, script in scripts.items():
            why = _no_script(lambda script=script: script)  # type: ignore[misc] # its lambda
            if why:
                remedy = "a near-miss must `yield` its actions, and be called: name()"
                yield Finding(rule, "high", seen.place(name), f"{variant!r} {why}", remedy)


def _no_script(make: Callable[[], Any]) -> str:
    """Why what is made is no script; empty where it is one. It is not started."""
    try:
        script = make()
    except Exception as error:  # noqa: BLE001 - an author's code may raise anything
        return f"raises {type(error).__name__}: {error}"
    if not inspect.isgenerator(script):
        return f"is a {type(script).__name__}, no generator"
    script.close()
    return ""


RULES: tuple[Rule, ...] = (
    entry_point, manifest, loads, dependencies, readme, tests, imports,
    agrees, splits, docstring, judged, task_draws, oracle, near_misses,
)  # fmt: skip
"""In the order in which an author would want to hear of it."""
