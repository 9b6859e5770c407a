"""A way to run the command line in this process, worlds to try, packs that are not there."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from envkit.cli import main


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)  # more than one document would not read


@pytest.fixture
def envkit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., Done]]:
    logger = logging.getLogger("envkit")
    before = logger.handlers, logger.propagate
    monkeypatch.chdir(tmp_path)  # where `runs/` is made

    def run(*argv: str | Path) -> Done:
        capsys.readouterr()
        status = main([str(part) for part in argv])
        said = capsys.readouterr()
        return Done(status, said.out, said.err)

    yield run
    logger.handlers, logger.propagate = before


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., str]:
    """A world in a file of its own, with one piece of the good one replaced; its spec."""

    def make(old: str = "", new: str = "") -> str:
        assert old in GOOD
        path = tmp_path / "world.py"
        path.write_text(GOOD.replace(old, new) if old else GOOD)
        return f"file:{path}:World"

    return make


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a distribution on the path that announces a pack."""

    def make(dist: str, pack: str, manifest: str | None) -> Path:
        root = tmp_path / f"site-{dist}"
        package = root / dist.replace("-", "_")
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "world.py").write_text(GOOD)
        if manifest is not None:
            (package / "envkit.json").write_text(manifest)
        info = root / f"{dist.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[envkit.envs]\n{pack} = {package.name}\n")
        monkeypatch.syspath_prepend(str(root))
        return package

    return make


GOOD = dedent('''\
    from random import Random

    from pydantic import BaseModel

    from envkit import Data, Env, Evidence, Limits, Score, Task, Terminal, call, tool


    class Gold(BaseModel):
        total: int


    class World(Env[Gold]):
        """Reach a total."""

        splits = {"train": 20, "test": 5}
        table = Data(dict[str, int])
        evidence = [table.frozen()]

        @tool
        def add(self, n: int) -> str:
            """Add a number."""
            self.table["x"] += n
            return f"[bold]{self.table['x']}[/bold] \\x1b[31m"

        @classmethod
        def task(cls, split, index, rng):
            total = rng.randint(3, 9)
            world = {"table": {"x": 0}}
            return Task(prompt=f"Reach {total}.", world=world, gold=Gold(total=total))

        @staticmethod
        def grade(evidence, gold):
            return Score.all(total=evidence.json("table/value.json") == {"x": gold.total})

        @staticmethod
        def solve(task):
            yield call("add", n=task.gold.total)

        @staticmethod
        def near_misses(task):
            def play(n):
                yield call("add", n=n)

            return {"less": play(task.gold.total - 1), "more": play(task.gold.total + 1)}
    ''')
