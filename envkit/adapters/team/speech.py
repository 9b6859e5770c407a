"""How one seat's words reach another: as a quotation under a header that no seat can write.

A seat is an agent, so its words are hostile. They may hold the markers by which chat templates tell roles apart, what
is invisible, or lines that pose as somebody else's. Whatever they hold, each of their lines begins with `| `, and a
header never does.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator

from envkit.data.strict import scrub

QUOTE = "| "
ROLES = (
    "system", "developer", "user", "assistant", "tool", "function", "human", "ai", "bot", "model",
    "instruction", "instructions", "response", "environment", "announcement", "for you alone",
)  # fmt: skip

_BREAKS = re.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_KEPT = "\n\t"
_UNSEEN = ("Cc", "Cf", "Cs")  # control, format (zero width, direction, tags), lone surrogates
# Chat templates tell roles apart by <|...|>, <...> and [INST]; a bracket of another kind is no special token.
_ANGLE = re.compile(r"[<\uff1c\ufe64](?=[\w/|!?<\[\uff1c\ufe64\uff5c\u2581])")
_SQUARE = re.compile(r"\[(/?[A-Za-z_]{3,40})\]")
_COLONS = ":\uff1a\ufe55\ua789\u2236"
# Letters of other scripts that look like Latin ones; compatibility forms are folded by NFKC.
_LOOKALIKES = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb\u0501\u051b\u0432\u043a\u043c\u0442\u043d"
    "\u0261\u03b1\u03b5\u03bf\u03c1\u03b9\u03bd\u03c4\u03c5\u03ba\u0131\u04cf\u0570\u0578\u057d",
    "aeopcyxijshdqbkmthgaeopivtukilhnu",
)


def cleaned(text: str, limit: int) -> str:
    """At most `limit` characters of a text, with nothing invisible and no marker of a chat template."""
    text = _BREAKS.sub("\n", scrub(text[:limit]))
    seen = (c for c in text if c in _KEPT or unicodedata.category(c) not in _UNSEEN)
    return _SQUARE.sub(r"(\1)", _ANGLE.sub("\u2039", "".join(seen))).strip()


class Voices:
    """The names that a line may pose as: the seats, and the roles of a chat."""

    def __init__(self, seats: Collection[str]) -> None:
        names = "|".join(re.escape(name) for name in (*seats, *ROLES))
        self._poses = re.compile(
            rf"[\W_]*(?:the\s+)?(?:{names})\b(?:[^{_COLONS}]{{0,24}}[{_COLONS}]|\s+says\b|\s+has\s+left\b)"
        )

    def owned(self, seat: str, text: str) -> str:
        """The text with every line that begins as somebody's speech marked as this seat's own words."""
        return "\n".join(self._lines(seat, text))

    def _lines(self, seat: str, text: str) -> Iterator[str]:
        for line in text.split("\n"):
            yield f"({seat}'s own words) {line}" if self._poses.match(_folded(line)) else line


def _folded(line: str) -> str:
    """The start of a line as it looks: compatibility forms, accents and look-alike letters folded."""
    start = unicodedata.normalize("NFKD", line[:120])
    bare = "".join(c for c in start if not unicodedata.combining(c))
    return bare.casefold().translate(_LOOKALIKES)


def quoted(header: str, text: str) -> str:
    """A header, and the text below it with every line marked as quoted."""
    return "\n".join([header, *(QUOTE + line for line in text.split("\n"))])
