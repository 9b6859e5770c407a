"""`Memory`: the declaration of a memory, and how an episode gets its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

from envkit.adapter import Adapter, Artefact, Context
from envkit.adapters.memory.seed import MemorySeed
from envkit.adapters.memory.session import MemorySession, Numbered, Rules, Surroundings
from envkit.adapters.memory.store import Full, Quota
from envkit.errors import DeclarationError, TaskError

MOST_BYTES = 4 << 20  # what evidence has room for beside other things
MOST_RECORDS = 1000  # what the judge reads of `records.json`


@dataclass(frozen=True, slots=True)
class _Alone:
    """An episode without a chain is one session."""

    number: int = 1


class Memory(Adapter[MemorySession]):
    """`notes = Memory()`: files under `/memories`, and a search over them. They are gone when the episode ends.

    Every episode has a database of its own, so that there is nothing to be filtered.

    Args:
        chain: the `SessionChain` of the same environment, declared before; records then say which session
            they come from
        max_bytes: names and contents of all files together, in UTF-8
        max_records: files
        max_writes: changes of an episode, deletions included; of a session, where a seed says that notes last no longer
        answer_chars: of one answer; longer ones are cut at a line, and say so
    """

    Seed: ClassVar[type[MemorySeed]] = MemorySeed
    session: ClassVar[type[Any]] = MemorySession

    def __init__(
        self,
        *,
        chain: Adapter[Any] | None = None,
        max_bytes: int = 65_536,
        max_records: int = 100,
        max_writes: int = 200,
        answer_chars: int = 8_000,
    ) -> None:
        if not 0 < max_bytes <= MOST_BYTES or not 0 < max_records <= MOST_RECORDS:
            raise DeclarationError(
                f"Memory: max_bytes is from 1 to {MOST_BYTES} and max_records from 1 to {MOST_RECORDS}:"
                " the judge reads all of them"
            )
        if max_writes < 0 or answer_chars < 200:
            raise DeclarationError("Memory: max_writes is 0 or more, answer_chars 200 or more")
        self._chain = chain
        self._rules = Rules(Quota(max_bytes, max_records), max_writes, answer_chars)

    def files(self, pattern: str = "*") -> Artefact:
        """Declare files as evidence; the judge reads `<name>/files/<path>`, without `/memories`.

        Args:
            pattern: a path below `/memories`; `*` also stands for slashes
        """
        if not pattern or pattern.startswith("/") or ".." in pattern.split("/"):
            raise DeclarationError(f"{pattern!r} must be a path below /memories, without '..'")
        return self.artefact(f"files/{pattern}")

    def records(self) -> Artefact:
        """Declare provenance as evidence: the judge reads `<name>/records.json`.

        A list of `{"path", "bytes", "created", "changed"}`; the last two are `{"seat", "session", "step", "at"}`:
        who, in which session of the chain (0: the seed), with which of the memory's calls, and when.
        """
        return self.artefact("records.json")

    async def open(self, seed: MemorySeed, context: Context) -> MemorySession:
        """A fresh database with the seed's files. Raises TaskError where they are over the quota."""
        around = Surroundings(context.clock, context.bait, self._numbered(context), context.seat)
        try:
            session = MemorySession(self._rules, seed, around)
        except Full as full:
            raise TaskError(f"world[{self.name!r}]: {full}") from None
        context.stack.callback(session.close)
        return session

    def _numbered(self, context: Context) -> Numbered:
        if self._chain is None:
            return _Alone()
        session = context.sessions.get(self._chain.name)
        if not hasattr(session, "number"):
            raise DeclarationError(
                f"{self.name} = Memory(chain=...) needs a SessionChain of the same class, declared before it"
            )
        return cast("Numbered", session)
