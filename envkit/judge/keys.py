"""Keys: everything that an agent must not compute from the public pack is an HMAC under a salt.

`HMAC(salt, spec, split, index)` (RFC 2104, SHA-256) keys a task's generator. Ids, the world's seed and the task's
digest come from the same key under other labels, so none tells anything about another.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envkit.data.keyed import KeyedRandom
from envkit.errors import UsageError

PUBLIC_SALT = b"envkit public salt: for examples and audits, never for training or tests"
MIN_BYTES = 16  # 128 bits


@dataclass(frozen=True, slots=True)
class TaskKey:
    """The key of one task."""

    secret: bytes

    @classmethod
    def of(cls, salt: bytes, spec: str, split: str, index: int) -> TaskKey:
        """Derive it; the parts are length-prefixed by JSON, so no two places share a key."""
        place = json.dumps([spec, split, index]).encode()
        return cls(hmac.digest(salt, place, "sha256"))

    def _label(self, label: str, data: bytes = b"") -> bytes:
        return hmac.digest(self.secret, label.encode() + b"\0" + data, "sha256")

    @property
    def id(self) -> str:
        """The opaque id: 80 bits in hex."""
        return self._label("id").hex()[:20]

    @property
    def seed(self) -> int:
        """The seed of the world's own draws."""
        return int.from_bytes(self._label("world"), "big") >> 192

    def rng(self) -> KeyedRandom:
        """What `Env.task` draws from."""
        return KeyedRandom(self._label("task"))

    def digest(self, content: Mapping[str, Any]) -> str:
        """Says that two processes made the same task; without the key it says nothing about the task."""
        canonical = json.dumps(content, sort_keys=True, default=repr).encode()
        return self._label("digest", hashlib.sha256(canonical).digest()).hex()


def read_salt(path: str | None) -> bytes:
    """The salt in a file, or the public one. Raises UsageError where the file holds less than 128 bits."""
    if path is None:
        return PUBLIC_SALT
    try:
        salt = Path(path).read_bytes().strip()
    except OSError as error:
        raise UsageError(
            f"salt file {path}: {error.strerror}; make one with `openssl rand -hex 32`"
        ) from None
    if len(salt) < MIN_BYTES:
        raise UsageError(
            f"salt file {path} holds {len(salt)} bytes; at least {MIN_BYTES} are needed"
        )
    return salt


def draw_salt(path: Path) -> bytes:
    """Write a new salt of 256 bits, readable by its owner alone, and return it; a kill leaves all of it or none."""
    salt = secrets.token_hex(32).encode()
    waiting = path.with_suffix(".tmp")
    waiting.unlink(missing_ok=True)
    waiting.touch(mode=0o600)
    with waiting.open("wb") as stream:
        stream.write(salt)
        stream.flush()
        os.fsync(stream.fileno())
    waiting.replace(path)
    return salt
