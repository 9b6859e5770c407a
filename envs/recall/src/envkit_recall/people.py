"""People and what is known of them: names that are easily mixed up, values that nobody can guess."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

FIRST = (
    "Aylin Anton Beatriz Bruno Carla Cedric Chiara Dario Edda Elif Emil Fatima Felix Freya Gideon Greta Hana Hugo"
    " Ida Imran Ines Ivo Jana Joris Julia Karim Katya Lars Leila Linus Maja Marek Milan Nadia Nils Noor Olga Oskar"
    " Paula Pavel Rania Remy Ruth Samir Selma Sofia Tarik Tessa Tomas Vera Viktor Wanda Yara Yusuf Zoe"
).split()

TWINS = (
    ("Lindgren", "Lindberg"), ("Kessler", "Kestler"), ("Brandt", "Brandl"), ("Novak", "Nowak"),
    ("Petersen", "Pedersen"), ("Fischer", "Fisker"), ("Hansen", "Jansen"), ("Castro", "Castillo"),
    ("Silva", "Silveira"), ("Morin", "Morel"), ("Rossi", "Russo"), ("Wagner", "Wegener"),
    ("Schmidt", "Schmitz"), ("Nielsen", "Nilsson"), ("Kowalski", "Kowalczyk"), ("Stewart", "Stuart"),
    ("Clarke", "Clarkson"), ("Evans", "Evers"), ("Okafor", "Okoro"), ("Haddad", "Haddadi"),
    ("Marino", "Marini"), ("Dubois", "Dubost"), ("Horvat", "Horvath"), ("Vermeer", "Vermeulen"),
    ("Ramirez", "Ramos"), ("Tanaka", "Tanabe"), ("Berger", "Bergner"), ("Simon", "Simons"),
)  # fmt: skip
"""Surnames that are taken for each other."""

_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
_WORDS = (
    "amber anchor apron basil beacon birch brick canoe cedar cider clover comet copper coral cotton crane delta ember"
    " fable falcon fern flint garnet ginger harbor hazel heron indigo island ivory juniper kettle lagoon lantern lemon"
    " linen magnet maple marble meadow mint needle nickel nutmeg ocean olive onyx opal orchid otter paddle pepper"
    " pigeon plum poplar quartz raven ribbon saddle saffron sailor silver spruce summit thistle timber tulip velvet"
    " violet walnut willow"
).split()
_COFFEES = (
    "flat white", "cortado", "cappuccino", "latte", "macchiato", "mocha", "cold brew", "americano", "lungo",
)  # fmt: skip
_MILKS = (
    "oat milk",
    "soy milk",
    "almond milk",
    "goat milk",
    "hazelnut milk",
    "rice milk",
    "skimmed milk",
    "cream",
)
_TOPS = (
    "cinnamon", "cardamom", "nutmeg", "cocoa", "honey", "maple syrup", "vanilla", "orange peel", "ginger", "star anise",
    "brown sugar", "a pinch of salt",
)  # fmt: skip


def _digits(rng: Random, count: int) -> str:
    return str(rng.randrange(10 ** (count - 1), 10**count))


def _letters(rng: Random, count: int) -> str:
    return "".join(rng.choices(_LETTERS, k=count))


def _mixed(rng: Random, count: int) -> str:
    return "".join(rng.choices(_LETTERS + "23456789", k=count))


def full_name(rng: Random) -> str:
    """Anybody's."""
    return f"{rng.choice(FIRST)} {rng.choice(rng.choice(TWINS))}"


KINDS: Mapping[str, Callable[[Random], str]] = {
    "locker code": lambda rng: (
        f"{_digits(rng, 1)}-{_letters(rng, 1)}{_digits(rng, 2)}{_letters(rng, 1)}"
    ),
    "badge number": lambda rng: _digits(rng, 6),
    "parking permit": lambda rng: f"{_letters(rng, 2)}-{_digits(rng, 5)}",
    "flight booking reference": lambda rng: _mixed(rng, 6),
    "hotel confirmation number": lambda rng: f"{_digits(rng, 2)}-{_digits(rng, 5)}",
    "store room PIN": lambda rng: _digits(rng, 5),
    "laptop serial number": lambda rng: f"LT-{_mixed(rng, 4)}-{_digits(rng, 3)}",
    "guest Wi-Fi password": lambda rng: (
        f"{rng.choice(_WORDS)}-{rng.choice(_WORDS)}-{_digits(rng, 2)}"
    ),
    "emergency contact": full_name,
    "usual coffee": lambda rng: (
        f"{rng.choice(_COFFEES)} with {rng.choice(_MILKS)} and {rng.choice(_TOPS)}"
    ),
    "library card number": lambda rng: f"{_digits(rng, 4)} {_digits(rng, 4)}",
    "voicemail code": lambda rng: f"#{_digits(rng, 5)}",
}
"""What may be known of a person; each is one of 864 values at least, most are one of a hundred thousand."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, and who he is taken for (nobody: empty)."""

    name: str
    twin: str = ""

    @property
    def pair(self) -> str:
        """The same for both of a pair."""
        return min(self.name, self.twin or self.name)


def draw_people(rng: Random, pairs: int, others: int) -> list[Person]:
    """So many pairs with one first name and surnames alike, then so many others; no name twice."""
    surnames = rng.sample(TWINS, pairs + others)
    firsts = rng.sample(FIRST, pairs + others)
    people = []
    for first, (one, other) in zip(firsts[:pairs], surnames[:pairs], strict=True):
        people += [Person(f"{first} {one}", f"{first} {other}")]
        people += [Person(f"{first} {other}", f"{first} {one}")]
    for first, names in zip(firsts[pairs:], surnames[pairs:], strict=True):
        people.append(Person(f"{first} {rng.choice(names)}"))
    return people
