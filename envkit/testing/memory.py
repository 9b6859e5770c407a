"""What an environment with a memory must show: that its reward cannot be had without the memory, and can be with it.

from envkit.testing.memory import MemoryConformance

class TestMemoryCounts(MemoryConformance):
    spec = "recall/fact?level=hard"

The same tasks are played three times by the oracle, in worlds that differ in the memory's seed alone: *kept* as it is;
*erased* with every session of the chain; *given*, where it holds from the beginning what the oracle left there in the
first run, and refuses to be written. So the oracle may take nothing from gold but what it writes down.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from envkit.adapters.memory import Memory
from envkit.data.evidence import Evidence, FrozenEvidence
from envkit.data.spec import EnvSpec
from envkit.errors import UsageError
from envkit.host import Backend
from envkit.registry import resolve
from envkit.rollout.policy import policy_source
from envkit.rollout.record import Episode, read_sealed
from envkit.rollout.runner import Runner, RunSettings

_VARIANT = '''"""Made by envkit.testing.memory: {path} with another memory."""

import json
from pathlib import Path

from envkit.registry import resolve

Base = resolve({path!r}).env


class Variant(Base):
    """The same tasks; their memory as the file beside this one says, by index."""

    evidence = [*Base.evidence, Base.{memory}.files()]

    @classmethod
    def task(cls, split, index, rng):
        task = super().task(split, index, rng)
        seed = cls.{memory}.Seed.model_validate(task.world.get({memory!r}, {{}})).model_dump()
        changed = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8")).get(str(index), {{}})
        return task.model_copy(update={{"world": {{**task.world, {memory!r}: {{**seed, **changed}}}}}})
'''


@dataclass(frozen=True, slots=True)
class Necessity:
    """The oracle's mean reward over the same tasks."""

    kept: float
    erased: float
    given: float


@dataclass(frozen=True, slots=True)
class Trials:
    """What is played."""

    spec: str
    split: str = "train"
    tasks: int = 4
    backend: Backend = "auto"


async def necessity(trials: Trials, folder: Path) -> Necessity:
    """Play the oracle with its memory kept, erased and given. Runs are recorded below `folder`.

    Raises UsageError where the environment has no memory, more than one, or an episode that could not be scored.
    """
    spec = EnvSpec.parse(trials.spec)
    memory = _memory(spec)
    source = folder / "variant.py"
    source.write_text(_VARIANT.format(path=spec.path, memory=memory), "utf-8")
    # the same spec in all three runs: tasks are drawn by it
    trials = replace(trials, spec=str(EnvSpec(f"file:{source}:Variant", None, spec.config)))

    async def played(name: str, seeds: Mapping[int, Mapping[str, Any]]) -> list[Episode]:
        source.with_suffix(".json").write_text(json.dumps(seeds), "utf-8")
        return await _play(trials, folder / name)

    kept = await played("kept", {})
    left = _left(kept, folder / "kept", f"{memory}/files/")
    erased = await played("erased", {index: {"lasting": "session"} for index in left})
    given = {index: {"files": files, "readonly": True} for index, files in left.items()}
    return Necessity(_mean(kept), _mean(erased), _mean(await played("given", given)))


class MemoryConformance:
    """Inherit it and name the environment. Play a split whose tasks are like all others."""

    spec: ClassVar[str]
    split: ClassVar[str] = "train"
    tasks: ClassVar[int] = 4
    backend: ClassVar[Backend] = "auto"
    chance: ClassVar[float] = 0.0  # what guessing earns
    enough: ClassVar[float] = 0.9  # what reading earns at least

    def test_memory_is_needed_and_enough(self, tmp_path: Path) -> None:
        """Three runs of the oracle over the same tasks; the first is the control of the other two."""
        trials = Trials(self.spec, self.split, self.tasks, self.backend)
        found = asyncio.run(necessity(trials, tmp_path))
        assert found.kept == 1.0, f"{found}: the oracle falls short"
        # else the last session shows what is asked for, or the oracle has it from gold
        assert found.erased <= self.chance, f"{found}: this does not test memory"
        # else something is wanted that no good writer would have left there
        assert found.given >= self.enough, f"{found}: the memory is not enough"


def _memory(spec: EnvSpec) -> str:
    names = [n for n, a in resolve(spec).env._adapters.items() if isinstance(a, Memory)]
    if len(names) != 1:
        raise UsageError(
            f"{spec}: the necessity of one memory is tested; declared: {', '.join(names) or 'none'}"
        )
    return names[0]


async def _play(trials: Trials, out: Path) -> list[Episode]:
    settings = RunSettings(
        trials.spec, trials.split, trials.tasks, concurrency=4, backend=trials.backend, out=out
    )
    episodes: list[Episode] = []
    async with Runner(settings, policy_source("oracle")) as runner:
        await runner.run(episodes.append)
    for episode in episodes:
        if episode.reward is None:
            raise UsageError(f"{out.name}: {episode.id}: {episode.invalid}: {episode.detail}")
    return episodes


def _left(episodes: list[Episode], folder: Path, prefix: str) -> dict[int, dict[str, str]]:
    """What lay in the memory at the end of each episode, by the task's index."""
    notes = read_sealed(folder)
    left: dict[int, dict[str, str]] = {}
    for episode in episodes:
        frozen = FrozenEvidence.model_validate_json(json.dumps(notes[episode.id]["evidence"]))
        files = Evidence(frozen).files(prefix)
        left[episode.index] = {path: content.decode() for path, content in files.items()}
    return left


def _mean(episodes: list[Episode]) -> float:
    return sum(episode.reward or 0.0 for episode in episodes) / len(episodes)
