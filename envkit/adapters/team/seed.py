"""What a task gives to a team: the cards, and who begins."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import Field, model_validator

from envkit.data.task import Frozen


class TeamSeed(Frozen):
    """`Team.Seed`: a card for each seat that has one, and the seat that acts first."""

    cards: Mapping[str, str] = Field(default_factory=dict)
    first: str | None = None


def seed_for(seats: Collection[str], *, begins: bool) -> type[TeamSeed]:
    """The seed of one declaration, so that a card for nobody is found when the task is made."""

    class Seed(TeamSeed):
        @model_validator(mode="after")
        def _names_seats(self) -> Seed:
            for name in (*self.cards, *(() if self.first is None else (self.first,))):
                if name not in seats:
                    raise ValueError(f"no seat is called {name[:40]!r}; seats: {', '.join(seats)}")
            if self.first is not None and not begins:
                raise ValueError("`first` says nothing where all seats act together")
            return self

    return Seed
