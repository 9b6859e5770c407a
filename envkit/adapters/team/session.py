"""One episode's team: who acts, what was said, and what each seat alone was told."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from envkit.adapters.team.seed import TeamSeed
from envkit.adapters.team.speech import Voices, cleaned, quoted
from envkit.data.evidence import FrozenItem
from envkit.data.message import Message, Observation
from envkit.data.strict import scrub

CHANNEL = "channel.json"
ANSWERS = "answers.json"

Order = Literal["alternate", "together"]

_ROOM = 200_000  # characters of the channel: as JSON they stay below what the judge reads
_OVERHEAD = 50  # characters that an entry is charged beside its text, so that empty ones end, too
_ANSWER_CHARS = 150_000  # of all answers together


@dataclass(frozen=True, slots=True)
class Said:
    """An entry of the channel. No seat: the table's own announcement."""

    seat: str | None
    text: str
    turn: int


@dataclass(frozen=True, slots=True)
class Rules:
    """What a declaration says about its sessions."""

    seats: tuple[str, ...]
    order: Order
    turns: int | None
    least: int
    speech: int


class TeamSession:
    """A `Floor` with several seats. What an `Env` may call in its tools and in `setup` stands first.

    A tool knows whose call it carries out by `self.seat`.
    """

    def __init__(self, rules: Rules, seed: TeamSeed) -> None:
        self.turn = 0  # turns that are over: of one seat each, or of all who act together
        self._rules = rules
        self._present = list(rules.seats)
        self._last = rules.seats[-1]  # who had the last turn
        first = [seed.first or rules.seats[0]]
        self._due = list(rules.seats) if rules.order == "together" else first
        self._cards = dict(seed.cards)
        self._opening: int | None = None  # entries that stood there before anybody looked
        self._log: list[Said] = []
        self._alone = {seat: [self._card(seat, seed.cards.get(seat))] for seat in rules.seats}
        self._read = dict.fromkeys(rules.seats, (0, 0))  # of what it alone was told, of the log
        self._answers: dict[str, str] = {}
        share = _ROOM // (len(rules.seats) + 1)  # nobody can take the others' room
        self._room: dict[str | None, int] = dict.fromkeys((*rules.seats, None), share)
        self._voices = Voices(rules.seats)

    # ---- for the tools and the setup of an Env ----

    @property
    def seats(self) -> tuple[str, ...]:
        """All seats, in the order of declaration."""
        return self._rules.seats

    @property
    def present(self) -> tuple[str, ...]:
        """The seats that have not left."""
        return tuple(self._present)

    def acting(self) -> tuple[str, ...]:
        """The seats whose turn it is; none: the episode is over."""
        return tuple(seat for seat in self._rules.seats if seat in self._due)

    def card(self, seat: str) -> str:
        """A seat's card, for what a tool shows to that seat; empty where it has none."""
        self._known(seat)
        return self._cards.get(seat, "")

    def say(self, seat: str, text: str) -> None:
        """Put words on the channel in a seat's name, as a message that goes with a call. The turn stays."""
        self._known(seat)
        self._put(seat, text)

    def post(self, text: str) -> None:
        """Announce something to all seats, in nobody's name."""
        self._put(None, text)

    def tell(self, seat: str, text: str) -> None:
        """Tell one seat something that nobody else sees."""
        self._known(seat)
        self._note(seat, scrub(text))

    def pass_turn(self, seat: str) -> None:
        """This seat's turn is over; without effect where it has none."""
        self._known(seat)
        if seat in self._due:
            self._due.remove(seat)
            self._last = seat
            if not self._due:
                self._next(())

    def give_turn(self, *seats: str) -> None:
        """The turns under way are over; these seats act next, at once, and the order goes on after them."""
        for seat in seats:
            self._known(seat)
        if self._due:  # else it is over
            self._next(seats)

    def end(self) -> None:
        """The episode is over."""
        self._due = []

    # ---- a Floor ----

    async def hear(self, seat: str, text: str) -> None:
        """A turn without a tool call: everybody hears it, and the turn is over."""
        if seat in self._due:
            self._put(seat, text)
            self.pass_turn(seat)
        else:  # another seat's action of the same step was first, and took the turn
            self._note(seat, "You were not heard: your turn was over.")

    async def leave(self, seat: str, answer: str) -> None:
        """This seat submitted: it acts no more. Its answer is evidence and for nobody else's eyes."""
        if seat not in self._present:
            return
        self._answers[seat] = scrub(answer[: _ANSWER_CHARS // len(self.seats)])
        self._present.remove(seat)
        self._put(None, f"{seat} has left.")
        if len(self._present) < self._rules.least:
            self.end()
        else:
            self.pass_turn(seat)

    async def observe(self, seat: str) -> Observation:
        """What it alone was told (first its card), then what others said since it last looked."""
        if self._opening is None:
            self._opening = len(self._log)
        told, heard = self._read[seat]
        audible = self._audible()
        self._read[seat] = len(self._alone[seat]), audible
        shown = self._alone[seat][told:] + self._heard(seat, heard, audible)
        return Observation(tuple(Message("user", text) for text in shown))

    # ---- an adapter's session ----

    async def freeze(self, patterns: Sequence[str]) -> Sequence[FrozenItem]:
        """The channel and the answers, where they are declared as evidence."""
        artefacts: Mapping[str, Any] = {
            CHANNEL: [asdict(said) for said in self._log],
            ANSWERS: self._answers,
        }
        return tuple(
            FrozenItem(name=name, data=json.dumps(scrub(value), ensure_ascii=False).encode())
            for name, value in artefacts.items()
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        )

    async def surfaces(self) -> Mapping[str, bytes]:
        """What each seat could read: its card, what it alone was told, what it heard from others."""
        surfaces: dict[str, bytes] = {}
        for seat in self._rules.seats:
            card, *told = self._alone[seat]
            heard = self._heard(seat, 0, len(self._log))
            for name, texts in (("card", [card]), ("told", told), ("heard", heard)):
                if texts:
                    surfaces[f"seat/{seat}/{name}"] = "\n\n".join(texts).encode()
        return surfaces

    # ---- inside ----

    def _known(self, seat: str) -> None:
        """Refuse what an author misspelt: an agent's arguments are never seats without a look."""
        if seat not in self._rules.seats:
            raise ValueError(f"no seat is called {seat[:40]!r}; seats: {', '.join(self.seats)}")

    def _card(self, seat: str, card: str | None) -> str:
        others = ", ".join(other for other in self._rules.seats if other != seat)
        text = f"Your seat is {seat}. With you at the table: {others}."
        return text if card is None else f"{text} Your card, for you alone:\n\n{scrub(card)}"

    def _put(self, seat: str | None, text: str) -> None:
        """Append to the channel, as far as this voice has room; a seat is told what was not heard."""
        kept = cleaned(text, self._rules.speech)
        if seat is not None:
            kept = self._voices.owned(seat, kept)
            if len(text) > self._rules.speech:
                self._note(seat, f"Only the first {self._rules.speech} characters were heard.")
        cost = len(kept) + _OVERHEAD
        if cost <= self._room[seat]:
            self._room[seat] -= cost
            self._log.append(Said(seat, kept, self.turn))
        elif seat is not None:
            self._note(seat, "You were not heard: you have said more than the channel holds.")

    def _note(self, seat: str, text: str) -> None:
        self._alone[seat].append(quoted("For you alone:", text))

    def _next(self, chosen: Sequence[str]) -> None:
        """The next turn: of the chosen, else of whose turn it is by the order."""
        self.turn += 1
        if self._rules.turns is not None and self.turn >= self._rules.turns:
            self.end()
            return
        due = [seat for seat in chosen if seat in self._present]
        if not due and self._rules.order == "together":
            due = list(self._present)
        if not due:
            seats = self._rules.seats
            after = seats.index(self._last) + 1
            order = seats[after:] + seats[:after]
            due = [next(seat for seat in order if seat in self._present)]
        self._due = due

    def _audible(self) -> int:
        """How much of the log may be heard: where all act together, nothing of the turn under way."""
        if self._rules.order == "alternate":
            return len(self._log)
        over = sum(said.turn < self.turn for said in self._log)  # they come first
        return max(over, self._opening or 0)

    def _heard(self, seat: str, start: int, end: int) -> list[str]:
        return [_rendered(said) for said in self._log[start:end] if said.seat != seat]


def _rendered(said: Said) -> str:
    """An entry as others read it."""
    if said.seat is None:
        return quoted("Announcement:", said.text)
    return quoted(f"{said.seat} says:", said.text) if said.text else f"{said.seat} says nothing."
