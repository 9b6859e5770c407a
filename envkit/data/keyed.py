"""A `random.Random` whose stream is SHAKE-256 of a key.

Mersenne Twister gives its whole state away after 624 words of output, and a generated world shows thousands
of draws. With the public pack at hand an agent could then compute what the same generator drew for the gold.
"""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any, NoReturn

_BLOCK = 4096


class KeyedRandom(Random):
    """Random draws keyed by secret bytes; seeing any number of them tells nothing about the others.

    All of `random.Random` works (`sample`, `choice`, `shuffle`, ...); `seed`, `getstate` and `setstate` do not.
    """

    def __init__(self, key: bytes, label: str = "") -> None:
        self._key = hashlib.blake2b(label.encode(), key=hashlib.sha256(key).digest()).digest()
        self._blocks = 0
        self._buffer = b""
        self._offset = 0
        super().__init__(0)

    def seed(self, *args: Any, **kwargs: Any) -> None:
        """Ignored: `Random.__init__` calls it; the key is the seed."""
        self.gauss_next = None  # what `Random.gauss` keeps between two draws

    def getstate(self) -> NoReturn:
        """Refused: the state is the key."""
        raise TypeError("a keyed generator does not give its state away")

    def setstate(self, state: object) -> NoReturn:
        """Refused: the state is the key."""
        raise TypeError("a keyed generator cannot be rewound")

    def _take(self, count: int) -> bytes:
        while len(self._buffer) - self._offset < count:
            counter = self._blocks.to_bytes(8, "big")
            block = hashlib.shake_256(self._key + counter).digest(_BLOCK)
            self._buffer = self._buffer[self._offset :] + block
            self._blocks, self._offset = self._blocks + 1, 0
        taken = self._buffer[self._offset : self._offset + count]
        self._offset += count
        return taken

    def random(self) -> float:
        """The next draw from [0, 1), of 53 bits."""
        return (int.from_bytes(self._take(7), "big") >> 3) * 2.0**-53

    def getrandbits(self, k: int) -> int:
        """An integer of `k` random bits."""
        if k < 0:
            raise ValueError("number of bits must be non-negative")
        count = (k + 7) // 8
        return int.from_bytes(self._take(count), "big") >> (count * 8 - k)
