"""What a run shows while it goes and at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from envkit.cli.output import console, table
from envkit.cli.settings import RunConfig
from envkit.rollout.record import Episode
from envkit.rollout.runner import Summary

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

MOST_DETAILS = 5


@dataclass
class Tally:
    """Counts what comes by, for the bar, the tables and the exit status."""

    config: RunConfig
    seen: int = 0
    invalid: int = 0
    rewards: float = 0.0
    successes: int = 0
    unsolved: list[int] = field(
        default_factory=list[int]
    )  # tasks whose valid episode earned less than 1
    by_variant: dict[str, list[float]] = field(default_factory=dict)
    _details: dict[str, int] = field(default_factory=dict)

    def add(self, episode: Episode) -> None:
        """Count one episode."""
        self.seen += 1
        if episode.reward is None:
            self.invalid += 1
            reason = episode.invalid.value if episode.invalid else "invalid"
            detail = f"{reason}: {episode.detail}" if episode.detail else reason
            self._details[detail] = self._details.get(detail, 0) + 1
        else:
            self.rewards += episode.reward
            self.successes += episode.reward == 1.0
            if episode.reward != 1.0:
                self.unsolved.append(episode.index)
        if episode.variant is not None:
            rewards = self.by_variant.setdefault(episode.variant, [])
            rewards.extend(() if episode.reward is None else (episode.reward,))

    @property
    def total(self) -> int:
        """Episodes to expect; a near-miss is known once it was seen."""
        return self.config.tasks * self.config.repeats * max(1, len(self.by_variant))

    @property
    def mean(self) -> float | None:
        """The mean reward of what is valid so far."""
        valid = self.seen - self.invalid
        return self.rewards / valid if valid else None

    @property
    def fell_short(self) -> bool:
        """An invalid episode, an oracle that failed, a near-miss that did not."""
        if self.invalid or not self.seen:
            return True
        if self.config.policy == "oracle":
            return self.successes < self.seen
        return self.config.policy == "near-misses" and self.successes > 0

    def details(self) -> list[str]:
        """Why episodes are invalid, each reason once, the first few."""
        told = [f"{text} ({count} times)" for text, count in self._details.items()]
        told = [text.replace(" (1 times)", "") for text in told]
        more = len(told) - MOST_DETAILS
        return told[:MOST_DETAILS] + ([f"and {more} other reasons"] if more > 0 else [])

    def tables(self, summary: Summary) -> Iterator[Table]:
        """The summary, and near-misses by variant."""
        columns = ["~policy", ">episodes", ">reward", ">solved", ">invalid"]
        row = [self.config.policy, *figures(summary)]
        rate = summary.played / summary.seconds if summary.seconds else 0.0
        columns += [">seconds", ">per s"]
        row += [f"{summary.seconds:.1f}", f"{rate:.1f}"]
        if summary.tokens:
            columns += [">tokens", ">cost"]
            row += [str(summary.tokens), f"{summary.cost:.4f}"]
        blamed = ", ".join(f"{who} {count}" for who, count in summary.blame.items() if count)
        if blamed:
            columns.append("~blame")
            row.append(blamed)
        yield table(columns, [row], title=self.config.spec)
        if self.by_variant:
            rows = [
                [name, str(len(rewards)), f"{max(rewards):.3f}" if rewards else "-",
                 "scores like a solution" if 1.0 in rewards else "ok" if rewards else "not judged"]
                for name, rewards in sorted(self.by_variant.items())
            ]  # fmt: skip
            yield table(("near-miss", ">episodes", ">max reward", ""), rows)


def figures(summary: Summary) -> list[str]:
    """Episodes, mean reward, solved, invalid."""
    valid = summary.episodes - summary.invalid
    mean = f"{summary.rewards / valid:.3f}" if valid else "-"
    solved = f"{summary.successes / valid:.0%}" if valid else "-"
    return [str(summary.episodes), mean, solved, str(summary.invalid)]


@contextlib.contextmanager
def watching(tally: Tally) -> Iterator[Callable[[Episode], None]]:
    """A progress bar on stderr where that is a terminal; what to tell it."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield tally.add
        return
    with _bar() as bar:
        line = bar.add_task("", total=tally.total, rate="-", mean="-", invalid=0)

        def tell(episode: Episode) -> None:
            tally.add(episode)
            mean = "-" if tally.mean is None else f"{tally.mean:.3f}"
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            bar.update(
                line, completed=tally.seen, total=max(tally.total, tally.seen), mean=mean,
                invalid=tally.invalid, rate="-" if speed is None else f"{speed:.1f}",
            )  # fmt: skip

        yield tell


def _bar() -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}/s"),
        TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn(),
        TextColumn("reward {task.fields[mean]}  invalid {task.fields[invalid]}"),
        console=console(stderr=True), transient=True,
    )  # fmt: skip
