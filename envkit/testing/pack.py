"""What every pack must show: three lines in a pack's tests, and its environments are held to the protocol.

from envkit.testing import PackConformance

class TestDesk(PackConformance):
    pack = "desk"
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest

from envkit.data.spec import EnvSpec
from envkit.host import Backend
from envkit.judge.client import Judge
from envkit.registry import EnvEntry, packs, resolve
from envkit.rollout.policy import policy_source
from envkit.rollout.record import Episode
from envkit.rollout.runner import Runner, RunSettings

MINUTES = (
    5  # for a test that plays: a pack may have several environments, and few cores to open them on
)


class PackConformance:
    """Inherit it and name the pack. Worlds are opened for real, on the backend this machine offers."""

    pack: ClassVar[str]
    tasks: ClassVar[int] = 8  # of every split; all of one that has fewer
    backend: ClassVar[Backend] = "auto"

    def test_is_listed_as_it_is(self) -> None:
        """`envkit.json` says what the classes say."""
        for name, entry in self._entries().items():
            env = resolve(f"{self.pack}/{name}").env
            assert (entry.version, dict(entry.splits)) == (env.version, dict(env.splits)), name

    def test_makes_the_same_task_twice(self) -> None:
        """Two judges, one key, one task: its digest covers gold and world."""
        for name, split in self._splits():
            first, second = (asyncio.run(self._digests(name, split)) for _ in range(2))
            assert first == second, f"{name}/{split} draws from something else than its rng"
            assert len(set(first)) == len(first), f"{name}/{split} repeats tasks"

    @pytest.mark.timeout(MINUTES * 60)
    def test_oracle_earns_everything(self, tmp_path: Path) -> None:
        """`solve` proves that each task can be done."""
        for episode in self._episodes("oracle", tmp_path):
            assert episode.reward == 1.0, _why(episode)

    @pytest.mark.timeout(MINUTES * 60)
    def test_doing_nothing_earns_nothing(self, tmp_path: Path) -> None:
        """The floor is 0."""
        for episode in self._episodes("noop", tmp_path):
            assert episode.reward == 0.0, _why(episode)

    @pytest.mark.timeout(MINUTES * 60)
    def test_near_misses_fall_short(self, tmp_path: Path) -> None:
        """What is wrong on purpose is told apart from what is right."""
        played: dict[str, set[str]] = {}
        for episode in self._episodes("near-misses", tmp_path):
            assert episode.reward is not None, _why(episode)
            assert episode.reward < 1.0, _why(episode)
            played.setdefault(episode.spec, set()).add(str(episode.variant))
        assert all(len(variants) >= 2 for variants in played.values()), (
            f"too few near-misses: {played}"
        )

    def _entries(self) -> dict[str, EnvEntry]:
        found = [pack for pack in packs() if pack.name == self.pack]
        if not found:
            pytest.fail(f"no pack {self.pack!r} is installed: pip install -e . in its folder")
        manifest = found[0].manifest
        if manifest is None:
            pytest.fail(f"pack {self.pack!r}: {found[0].problem}")
        return dict(manifest.envs)

    def _many(self, policy: str, name: str, split: str) -> int:
        """How many tasks to play. Near-misses are several episodes each, and pages take their time."""
        entry = self._entries()[name]
        there = min(self.tasks, entry.splits[split] or self.tasks)
        if policy != "near-misses":
            return there
        return min(there, 2 if "browser" in entry.adapters else 4)

    def _splits(self) -> list[tuple[str, str]]:
        return [(name, split) for name, entry in self._entries().items() for split in entry.splits]

    async def _digests(self, name: str, split: str) -> list[str]:
        spec = resolve(f"{self.pack}/{name}").spec
        indices = range(self._many("oracle", name, split))
        async with Judge(spec) as judge:
            return [(await judge.draw(split, index)).public.digest for index in indices]

    def _episodes(self, policy: str, folder: Path) -> list[Episode]:
        episodes: list[Episode] = []
        for name, split in self._splits():
            settings = RunSettings(
                str(EnvSpec(f"{self.pack}/{name}")), split, self._many(policy, name, split), concurrency=4,
                backend=self.backend, out=folder / f"{name}-{split}",
            )  # fmt: skip
            episodes += asyncio.run(_run(settings, policy))
        return episodes


async def _run(settings: RunSettings, policy: str) -> list[Episode]:
    episodes: list[Episode] = []
    async with Runner(settings, policy_source(policy)) as runner:
        await runner.run(episodes.append)
    return episodes


def _why(episode: Episode) -> dict[str, Any]:
    return episode.model_dump(
        include={"id", "variant", "reward", "checks", "ending", "invalid", "detail", "findings"}
    )
