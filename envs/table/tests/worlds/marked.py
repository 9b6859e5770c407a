"""`table/bargain` with a GUID on each card, for the test that no seat ever sees the other's."""

from __future__ import annotations

from random import Random
from uuid import UUID

from envkit_table.bargain import SEATS, Bargain, Gold

from envkit import Task


class Marked(Bargain):
    """The same, with a private reference number for each side."""

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task[Gold]:
        """The task, its cards marked."""
        task = super().task(split, index, rng)
        team = task.world["team"]
        cards = {seat: f"{team['cards'][seat]}\n{mark(index, seat)}" for seat in SEATS}
        return task.model_copy(update={"world": {"team": {**team, "cards": cards}}})


def mark(index: int, seat: str) -> str:
    """The GUID on a card."""
    return str(UUID(int=Random(f"{index}/{seat}").getrandbits(128)))
