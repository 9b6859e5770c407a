"""The declaration of a team: its seats, who acts when, and how long."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from envkit.adapter import Adapter, Artefact, Context
from envkit.adapters.team.seed import TeamSeed, seed_for
from envkit.adapters.team.session import ANSWERS, CHANNEL, Order, Rules, TeamSession
from envkit.adapters.team.speech import ROLES
from envkit.errors import DeclarationError

MOST_SEATS = 16
_SEAT = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TAKEN = (*ROLES, "agent")  # roles of a chat, and the seat of an environment without a team


class Team(Adapter[TeamSession]):
    """`table = Team("buyer", "seller")`: two or more seats, each with a policy, a card and a reward of its own.

    `world["table"]` is `{"cards": {"buyer": "...", "seller": "..."}, "first": "seller"}`. A seat sees the task's
    prompt, its own card and what others said since it last looked; never another's card, calls, results or thinking.
    A turn without a tool call is speech, which all hear and which ends the turn. A tool keeps the turn unless it calls
    `self.table.pass_turn(self.seat)`. Who submits has left; the episode ends when fewer than `least` are there.

    Args:
        seats: their names, in the order in which they act
        order: "alternate": one acts at a time. "together": all act, and nobody hears what is said in a turn before it
            is over; actions are carried out in the order of the seats
        turns: after so many the episode is over (of one seat each, or of all together); None: the task's limits alone
        least: how many must be there for the episode to go on
        speech: characters heard of one turn; the channel holds 200,000 in all, an equal share for each
    """

    session: ClassVar[type[Any]] = TeamSession
    hears: ClassVar[bool] = True

    def __init__(
        self, *seats: str, order: Order = "alternate", turns: int | None = None, least: int = 1,
        speech: int = 2_000,
    ) -> None:  # fmt: skip
        if problem := _problem(seats, order, turns, least, speech):
            raise DeclarationError(f"Team{seats!r}: {problem}")
        self._rules = Rules(seats, order, turns, least, speech)
        # one seed model per declaration
        self.Seed: type[TeamSeed] = seed_for(seats, begins=order == "alternate")  # type: ignore[misc]

    @property
    def seats(self) -> tuple[str, ...]:
        """All seats, in the order of declaration."""
        return self._rules.seats

    def channel(self) -> Artefact:
        """Declare as evidence what was said: the judge reads `<name>/channel.json`.

        A list of `{"seat", "text", "turn"}`, in order, as others heard it; the table's own announcements have no
        seat (null). It is what agents claim: what they did stands in `evidence.calls`, each with its seat.
        """
        return self.artefact(CHANNEL)

    def answers(self) -> Artefact:
        """Declare as evidence what seats submitted: the judge reads `<name>/answers.json`, an object by seat."""
        return self.artefact(ANSWERS)

    async def open(self, seed: TeamSeed, context: Context) -> TeamSession:
        """A table before the first turn."""
        return TeamSession(self._rules, seed)


def _problem(
    seats: tuple[str, ...], order: str, turns: int | None, least: int, speech: int
) -> str | None:
    """What is wrong with a declaration, and what to do."""
    if not 2 <= len(seats) <= MOST_SEATS or len(set(seats)) != len(seats):
        return f"name 2 to {MOST_SEATS} different seats"
    for seat in seats:
        if not _SEAT.fullmatch(seat) or seat in _TAKEN:
            return (
                f"{seat!r} can't be a seat: lower-case letters, digits and _, and no role of a chat"
            )
    if order not in ("alternate", "together"):
        return "order is 'alternate' or 'together'"
    if not 1 <= least <= len(seats):
        return f"least is 1 to {len(seats)}"
    if speech < 1 or (turns is not None and turns < 1):
        return "turns and speech are 1 or more"
    return None
