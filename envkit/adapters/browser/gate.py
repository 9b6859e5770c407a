"""The gate: which addresses a browser may show. One allow-list, used before a navigation and after it.

It takes after what browsers do with an address before they read it (they drop tabs and line breaks anywhere, blanks
and control characters at both ends) and then allows, never denies: whatever is not plainly a page of the
episode's sites is refused. What goes to the browser is the address put together anew, so that what was checked is
what is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

_ENDS = "".join(map(chr, range(0x21)))  # C0 controls and the space
_DROPPED = str.maketrans("", "", "\t\n\r")
_ABSOLUTE = re.compile(r"(?i)http://([a-z0-9.-]{1,253})(?::([0-9]{1,5}))?(?=[/?#]|\Z)")
_BLANK = frozenset({"", "about:blank"})
_INNER = ("about:blank", "about:srcdoc", "blob:", "data:", "chrome-error:")
"""What a frame inside a site's page may hold besides pages of the sites: content that the site itself made."""

MOST_CHARS = 2000


class Gate:
    """Addresses of the given origins (`http://shop.test`), and of nothing else."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = {_origin(origin): origin for origin in origins}

    def resolve(self, text: str, here: str = "") -> str | None:
        """The address that an agent means, rebuilt; a path is taken on the site of `here`. None: refused."""
        url = text[: MOST_CHARS + 1].strip(_ENDS).translate(_DROPPED)
        if len(url) > MOST_CHARS or "\\" in url:
            return None
        if url.startswith("/") and not url.startswith("//"):
            base = self._origin_of(here) or next(iter(self._origins.values()))
            return base + url
        found = _ABSOLUTE.match(url)
        if found is None:
            return None
        origin = self._origin_of(url)
        return origin + (url[found.end() :] or "/") if origin else None

    def allows(self, url: str) -> bool:
        """Whether a tab may stand at this address, as the browser spells it."""
        return url in _BLANK or self._origin_of(url) is not None

    def allows_inside(self, url: str) -> bool:
        """The same for a frame inside a page."""
        return url.startswith(_INNER) or self.allows(url)

    def names(self) -> str:
        """The sites, for a refusal."""
        return ", ".join(self._origins.values())

    def _origin_of(self, url: str) -> str | None:
        found = _ABSOLUTE.match(url)
        return self._origins.get((found[1].lower(), int(found[2] or 80))) if found else None


def _origin(origin: str) -> tuple[str, int]:
    parts = urlsplit(origin)
    return (parts.hostname or "").lower(), parts.port or 80
