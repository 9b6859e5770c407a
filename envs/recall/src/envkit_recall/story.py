"""`Story`: who tells what in which session, what changes later, and what is asked in the end."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from envkit_recall import prose
from envkit_recall.people import KINDS, Person, draw_people

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a story is."""

    pairs: int  # of people who are taken for each other
    others: int
    kinds: int  # things known of each
    idle: int  # messages in a session that tell nothing
    sessions: tuple[str, ...]  # before the last: "tell", "work" or "change"
    changed: int  # questions about something that changed
    same: int  # questions about something that did not
    untold: int  # questions about something that only the neighbour told


SHAPES = {
    "easy": Shape(1, 1, 2, 2, ("tell", "work"), changed=0, same=1, untold=0),
    "medium": Shape(2, 1, 3, 4, ("tell", "change", "work"), changed=1, same=1, untold=0),
    "hard": Shape(3, 2, 3, 6, ("tell", "change", "tell", "change"), changed=2, same=1, untold=1),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing about one person, and all values that it had, in order."""

    who: Person
    what: str
    values: list[str]


class Story:
    """Drawn once; then only read."""

    def __init__(self, rng: Random, level: str) -> None:
        self._rng = rng
        self._shape = SHAPES[level]
        self._taken: set[str] = set()
        people = draw_people(rng, self._shape.pairs, self._shape.others)
        self._people = {person.name: person for person in people}
        self.facts = [
            fact for pair in {p.pair: None for p in people} for fact in self._facts_of(pair)
        ]
        self.asked = self._choose()
        self.told: list[list[tuple[str, str, str]]] = []  # by session: who, what, value
        self.sessions = [self._session(n, kind) for n, kind in enumerate(self._shape.sessions)]

    def find(self, who: str, what: str) -> Fact | None:
        """The fact, if it was told."""
        return next((f for f in self.facts if (f.who.name, f.what) == (who, what)), None)

    def neighbour(self, who: str, what: str) -> Fact | None:
        """The same of whoever has nearly the same name."""
        return self.find(self._people[who].twin, what)

    # ---- what is known ----

    def _facts_of(self, pair: str) -> list[Fact]:
        """The two of a pair have the same kinds of things, each with a value of its own."""
        kinds = self._rng.sample(list(KINDS), self._shape.kinds)
        people = [person for person in self._people.values() if person.pair == pair]
        return [Fact(person, what, [self._value(what)]) for person in people for what in kinds]

    def _value(self, what: str) -> str:
        """A value that nothing else in this story has."""
        while (value := KINDS[what](self._rng)) in self._taken:
            pass
        self._taken.add(value)
        return value

    def _choose(self) -> list[tuple[str, str]]:
        """What is asked: of people with a twin. What must not have been told is taken out of the facts."""
        shape, rng = self._shape, self._rng
        paired = [fact for fact in self.facts if fact.who.twin]
        chosen = rng.sample(paired, shape.changed + shape.same + shape.untold)
        # a neighbour must have told it, so nobody's neighbour may be left out
        while any(self.neighbour(f.who.name, f.what) in chosen for f in chosen[: shape.untold]):
            chosen = rng.sample(paired, len(chosen))
        for fact in chosen[: shape.untold]:
            self.facts.remove(fact)
        self._will_change = chosen[shape.untold : shape.untold + shape.changed]
        rng.shuffle(chosen)
        return [(fact.who.name, fact.what) for fact in chosen]

    # ---- how it is told ----

    def _session(self, number: int, kind: str) -> str:
        told: list[tuple[Fact, str]] = []
        if kind == "tell":
            told = self._telling(number)
        elif kind == "change":
            told = self._changing(number)
        self.told.append([(fact.who.name, fact.what, value) for fact, value in told])
        letters = [self._letter(fact, value) for fact, value in told]
        if letters:
            for _ in range(self._shape.idle):
                self._slip_in(letters)
        return prose.inbox(self._rng, letters)

    def _telling(self, number: int) -> list[tuple[Fact, str]]:
        """This session's share of the facts; one of them is corrected in the same session."""
        tellings = [n for n, kind in enumerate(self._shape.sessions) if kind == "tell"]
        mine = [f for f in self.facts if self._first_told(f, tellings) == number]
        self._rng.shuffle(mine)
        told = [(fact, fact.values[0]) for fact in mine]
        corrected = self._rng.choice([fact for fact in mine if fact not in self._will_change])
        corrected.values.append(self._value(corrected.what))
        place = self._rng.randint(mine.index(corrected) + 1, len(told))
        told.insert(place, (corrected, corrected.values[-1]))
        return told

    def _first_told(self, fact: Fact, tellings: list[int]) -> int:
        """Which session tells it: all of a pair's in one, by turns; what changes, in the first."""
        if fact in self._will_change:
            return tellings[0]
        pairs = sorted({f.who.pair for f in self.facts})
        return tellings[pairs.index(fact.who.pair) % len(tellings)]

    def _changing(self, number: int) -> list[tuple[Fact, str]]:
        """What will be asked about changes in every such session, and so does something else."""
        before = {(who, what) for session in self.told for who, what, _ in session}
        asked = set(self.asked)
        rest = [f for f in self.facts if (f.who.name, f.what) in before - asked]
        told = []
        for fact in [*self._will_change, *self._rng.sample(rest, 2)]:
            fact.values.append(self._value(fact.what))
            told.append((fact, fact.values[-1]))
        self._rng.shuffle(told)
        return told

    def _letter(self, fact: Fact, value: str) -> tuple[str, str, str]:
        rng, new = self._rng, value != fact.values[0]
        own = rng.random() < 0.5
        texts = (
            (prose.OWN_NEW if own else prose.ABOUT_NEW)
            if new
            else (prose.OWN if own else prose.ABOUT)
        )
        text = rng.choice(texts).format(name=fact.who.name, what=fact.what, value=value)
        subject = rng.choice(prose.NEW_SUBJECTS if new else prose.SUBJECTS)
        return (fact.who.name if own else self._clerk(), subject, prose.dressed(rng, text))

    def _slip_in(self, letters: list[tuple[str, str, str]]) -> None:
        rng = self._rng
        body = prose.dressed(rng, prose.idle(rng))
        letter = (self._clerk(), rng.choice(prose.IDLE_SUBJECTS), body)
        letters.insert(rng.randint(0, len(letters)), letter)

    def _clerk(self) -> str:
        return self._rng.choice(
            ("Reception", "Post room", "Facilities", "Travel desk", "Security", "IT help desk")
        )
