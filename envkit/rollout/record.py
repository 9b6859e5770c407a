"""The record of a run: one JSON line an episode, appended whole, so that it survives SIGKILL and resumes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticSerializationError

from envkit.data.score import Blame, Reason
from envkit.data.strict import scrub
from envkit.data.task import Frozen
from envkit.errors import RecordError
from envkit.toolbox import clip

EPISODES = "episodes.jsonl"
RUN = "run.json"
MAX_TEXT = 4 << 20  # characters of one text of a conversation; a large screenshot fits
_NOTE = 100  # more characters than the note takes that says what was left out


def _clipped(value: Any) -> Any:
    """The same with every long text cut in its middle: by talking, no agent fills memory or disk."""
    if isinstance(value, str):
        # a text that was cut is short enough not to be cut again when it is read
        return value if len(value) <= MAX_TEXT else clip(value, MAX_TEXT - _NOTE)
    if isinstance(value, dict):
        return {key: _clipped(item) for key, item in value.items()}
    return [_clipped(item) for item in value] if isinstance(value, list | tuple) else value


def _clip_all(messages: tuple[Mapping[str, Any], ...]) -> tuple[Mapping[str, Any], ...]:
    return tuple(_clipped(message) for message in messages)


class Timings(Frozen):
    """Seconds of one episode by where they were spent."""

    open: float
    world: float
    policy: float
    judge: float
    total: float


class Tokens(Frozen):
    """What the policy used."""

    prompt: int = 0
    completion: int = 0
    cost: float = 0.0


class Episode(Frozen):
    """The record of one trial. Holds what was public; never a secret."""

    schema_version: Literal[1] = 1
    id: str
    spec: str
    envkit: str  # version
    digest: str  # of the environment's source
    salt: str  # the salt's name, not the salt
    split: str
    index: int
    repeat: int
    variant: str | None
    task: str = ""  # opaque id; empty where the task could not be made
    seed: int = 0
    policy: Mapping[str, Any]
    # the conversation as chat-completions messages
    messages: Annotated[tuple[Mapping[str, Any], ...], AfterValidator(_clip_all)] = ()
    token_ids: tuple[int, ...] | None = None  # where the policy knows them
    turns: int = 0
    ending: str | None = None
    terminated: bool = False
    truncated: bool = False
    reward: float | None = None  # None: invalid
    seats: Mapping[str, float] = Field(default_factory=dict)
    checks: Mapping[str, float] = Field(default_factory=dict)
    invalid: Reason | None = None
    detail: str = ""
    blame: Blame | None = None
    findings: tuple[Mapping[str, str], ...] = ()
    evidence: str = ""  # sha256 of the frozen evidence
    tokens: Tokens = Tokens()
    timings: Timings
    attempts: int = 1
    started: str = Field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds")
    )

    @property
    def place(self) -> tuple[int, int, str | None]:
        """What tells this episode from the others of its run."""
        return (self.index, self.repeat, self.variant)


class RunHeader(Frozen):
    """What a run was started with; a resumed run must agree in all of it."""

    schema_version: Literal[1] = 1
    spec: str
    digest: str
    salt: str
    split: str
    first: int
    tasks: int
    repeats: int
    seed: int
    policy: Mapping[str, Any]
    backend: str


class Record:
    """A run's folder, opened by one process at a time. A context manager."""

    def __init__(self, folder: Path, header: RunHeader, *, resume: bool) -> None:
        self._folder = folder
        self._header = header
        self._resume = resume
        self._stream: int | None = None
        self.done: list[Episode] = []

    def __enter__(self) -> Record:
        """Create or continue. Raises RecordError where something else was recorded here."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / EPISODES
        self._stream = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._stream)
            raise RecordError(f"{path} is being written by another run") from None
        try:
            self._agree()
            self.done = list(self._read_on())
        except BaseException:
            os.close(self._stream)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file; every episode is already in it."""
        if self._stream is not None:
            os.close(self._stream)
            self._stream = None

    def append(self, episode: Episode) -> None:
        """Write one episode, whole: one `write` to a file opened for appending.

        Raises RecordError where it can't (the disk is full): nothing of it is kept, and the record is closed.
        """
        if self._stream is None:
            raise RecordError("the record is closed")
        line = _line(episode)
        before = os.fstat(self._stream).st_size
        try:
            while line:
                line = line[os.write(self._stream, line) :]
        except OSError as error:
            with contextlib.suppress(OSError):  # a torn line is cut off by whoever continues
                os.ftruncate(self._stream, before)
            self.__exit__()
            path = self._folder / EPISODES
            raise RecordError(
                f"{path}: {error.strerror}; mend that and go on with --resume"
            ) from None

    def _agree(self) -> None:
        path = self._folder / RUN
        if path.exists():
            if not self._resume:
                raise RecordError(
                    f"{self._folder} holds a run already; add --resume, or choose another --out"
                )
            try:
                before = RunHeader.model_validate_json(path.read_bytes())
            except ValidationError as error:
                raise RecordError(f"{path} is no run header: {error.errors()[0]['msg']}") from None
            for name in RunHeader.model_fields:
                was, is_ = getattr(before, name), getattr(self._header, name)
                if was != is_:
                    raise RecordError(
                        f"{path}: {name} was {was!r} and is {is_!r}; this is another run"
                    )
        else:
            waiting = path.with_suffix(".tmp")
            waiting.write_text(self._header.model_dump_json(indent=2), "utf-8")
            waiting.replace(path)

    def _read_on(self) -> Iterator[Episode]:
        """The episodes so far; a torn last line, left by a kill in mid-write, is cut off."""
        path = self._folder / EPISODES
        whole = 0
        with path.open("rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                yield _parse(line, path)
        if self._stream is not None and whole < path.stat().st_size:
            os.ftruncate(self._stream, whole)


def _line(episode: Episode) -> bytes:
    try:
        text = episode.model_dump_json()
    except PydanticSerializationError:  # lone surrogates, which a model may well send
        text = json.dumps(scrub(episode.model_dump()), ensure_ascii=False, separators=(",", ":"))
    return text.encode() + b"\n"


def _parse(line: bytes, path: Path) -> Episode:
    try:
        return Episode.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RecordError(f"{path}: a line is no episode: {first['loc']}: {first['msg']}") from None


def read_episodes(folder: Path) -> list[Episode]:
    """All whole episodes of a run."""
    path = folder / EPISODES
    if not path.exists():
        raise RecordError(f"{folder} holds no run")
    with path.open("rb") as stream:
        return [_parse(line, path) for line in stream if line.endswith(b"\n")]


def read_sealed(folder: Path) -> dict[str, Mapping[str, Any]]:
    """The judge's own notes by episode id, for people: reasons, evidence, replies. Never for a policy.

    What a kill left torn is no note.
    """
    notes: dict[str, Mapping[str, Any]] = {}
    with (
        contextlib.suppress(FileNotFoundError),
        (folder / "sealed" / "verdicts.jsonl").open("rb") as stream,
    ):
        for line in stream:
            with contextlib.suppress(ValueError):
                note = json.loads(line)
                notes[note["episode"]] = note
    return notes
