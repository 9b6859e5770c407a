"""How people write: messages that tell something, messages that tell nothing, and small jobs in between."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from envkit_recall.people import full_name

OWN = (
    "For your list: my {what} is {value}.",
    "You asked for my {what} last week. Here it is: {value}.",
    "Could you keep this somewhere safe? My {what} is {value}. I lose these things.",
    "Before I forget: {value} is my {what}. Thanks for looking after all this.",
    "Sorry for the delay. {value}, that is my {what}.",
    "As promised, my {what}: {value}. I will not be at my desk before noon.",
)
ABOUT = (
    "{name} asked me to pass this on, the {what} is {value}.",
    "I have {name} on the phone, who says the {what} is {value}. Can you put that on file?",
    "For the file on {name}: the {what} is {value}.",
    "{name} is travelling and gave me the {what}, in case somebody needs it: {value}.",
    "Please add to what we have on {name}. {value} is the {what}.",
    "This came in for {name}, the {what}: {value}. I have told nobody else.",
)
OWN_NEW = (
    "Correction from me: my {what} has changed. It is {value} now.",
    "Please forget the old one, my {what} is now {value}.",
    "They gave me a new one this morning, so my {what} is {value} from today on.",
    "I mixed something up when I wrote to you. My {what} is really {value}.",
)
ABOUT_NEW = (
    "Small update on {name}: the {what} was replaced, it is now {value}.",
    "What you have on {name} is out of date. The new {what} is {value}.",
    "I misheard {name}, sorry. The right {what} is {value}.",
    "{name} just wrote that the {what} is now {value}. The old one no longer works.",
)

_OPENINGS = ("", "", "", "Hello,\n\n", "Hi there,\n\n", "Hey,\n\n", "Good morning,\n\n")
_CLOSINGS = (
    "", "", "", "\n\nThanks!", "\n\nBest wishes", "\n\nCheers", "\n\nSee you at lunch.",
    "\n\nNo need to answer.", "\n\nCall me if anything is unclear.",
)  # fmt: skip

IDLE = (
    "The lift on the north side is being serviced until {time}. Please use the stairs by the canteen.",
    "We still have {n} chairs too many in the big meeting room. Does anybody want them?",
    "Ticket {code} about the humming radiator is closed. They found a loose screw.",
    "The delivery with note {code} is at the loading bay. It is {n} boxes of paper, I think.",
    "Who left a green umbrella in room {n}? It is at reception.",
    "Reminder: the fire drill is at {time}. Take your coat, it will be a while.",
    "Cake in the kitchen from {time} on, my daughter turned {n}.",
    "The printer on floor {n} is out of toner again. I have ordered some, order {code}.",
    "Has somebody seen the long extension cable? I need it for the demo at {time}.",
    "The window cleaners come at {time}. Please clear the sills on floor {n}.",
    "{other} is looking for people for the running group. We are {n} so far.",
    "The canteen tries a new soup at {time}. It is made with {n} vegetables, they say.",
    "Invoice {code} was paid twice. Accounting is on it, nothing to do for us.",
    "{other} starts on Monday and will sit next to the plants. Please say hello.",
    "I am stuck on the ring road and will not make the {time} meeting. Start without me.",
    "The coffee machine on floor {n} counts wrong. It is not you.",
    "Reception needs {n} visitor stickers by {time}.",
    "{other} found a bicycle key with tag {code}. Ask at the post room.",
    "Our plants get watered at {time} from now on. {other} has taken it over.",
    "The survey has {n} answers so far. It takes three minutes, please take part.",
)

SUBJECTS = (
    "for your files",
    "quick note",
    "as discussed",
    "details",
    "one more thing",
    "for the list",
    "short one",
)
NEW_SUBJECTS = ("update", "correction", "please change", "has changed", "new details")
IDLE_SUBJECTS = ("FYI", "today", "house notes", "small thing", "heads-up", "anyone?", "reminder")


def idle(rng: Random) -> str:
    """Something that nobody will ask about."""
    return rng.choice(IDLE).format(
        n=rng.randint(3, 9),
        code=rng.randint(10_000, 999_999),
        time=f"{rng.randint(9, 17)}:{rng.choice(('00', '15', '30', '45'))}",
        other=full_name(rng),
    )


def dressed(rng: Random, text: str) -> str:
    """A text as people send it."""
    return rng.choice(_OPENINGS) + text + rng.choice(_CLOSINGS)


def inbox(rng: Random, letters: list[tuple[str, str, str]]) -> str:
    """Messages (sender, subject, body) one after another, with the times at which they came in."""
    minute = rng.randint(0, 40)
    shown = []
    for sender, subject, body in letters:
        minute += rng.randint(2, 480 // (len(letters) + 1))
        time = f"{8 + minute // 60:02}:{minute % 60:02}"
        shown.append(f"From: {sender}\nReceived: {time}\nSubject: {subject}\n\n{body}")
    return "\n\n---\n\n".join(shown)


# ---- small jobs ----------------------------------------------------------------------------------


def _invoices(rng: Random) -> str:
    rows = "\n".join(
        f"- {full_name(rng)}: {rng.randint(900, 99_999) / 100:.2f} EUR" for _ in range(5)
    )
    return f"What do these expense claims come to in all?\n\n{rows}"


def _rooms(rng: Random) -> str:
    names = rng.sample(
        ("Alster", "Bode", "Elbe", "Havel", "Isar", "Lahn", "Main", "Neckar", "Oder", "Spree"), 5
    )
    rows = "\n".join(
        f"- {name}: {rng.randint(4, 40)} seats, floor {rng.randint(1, 6)}" for name in names
    )
    return f"I need a room for {rng.randint(6, 25)} people, as low as possible in the building. Which?\n\n{rows}"


def _quotes(rng: Random) -> str:
    rows = "\n".join(
        f"- {rng.choice(('Oberland', 'Steiner', 'Quickfix', 'Nordlicht', 'Havana'))} {number}: {rng.randint(80, 400)}"
        f" EUR, {rng.randint(1, 9)} days" for number in range(1, 6)
    )  # fmt: skip
    return f"Five quotes for the new blinds. Which is the cheapest that takes at most five days?\n\n{rows}"


def _notice(rng: Random) -> str:
    hour, floor = rng.randint(13, 18), rng.randint(1, 6)
    return (
        f"The water on floor {floor} is off from {hour}:00 for two hours. Write me a notice of two"
        " friendly sentences for the kitchen door."
    )


def _names(rng: Random) -> str:
    rows = "\n".join(f"- {full_name(rng)}" for _ in range(7))
    return f"Sort these names by surname for the door signs, please.\n\n{rows}"


def _shifts(rng: Random) -> str:
    rows = "\n".join(
        f"- {full_name(rng)}: {rng.randint(6, 11)}:{rng.choice(('00', '20', '40'))} to {rng.randint(12, 19)}:30"
        for _ in range(4)
    )
    return f"Who has the longest shift at reception tomorrow?\n\n{rows}"


JOBS: tuple[Callable[[Random], str], ...] = (_invoices, _rooms, _quotes, _notice, _names, _shifts)
"""Work that has nothing to do with anything told; whatever it comes to is not judged."""
