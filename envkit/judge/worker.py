"""The process that runs a pack's judge-side code: `task`, `solve`, `near_misses` and `grade`.

`python -I -m envkit.judge.worker`, started by the service alone. It answers one frame after another and may hang
or die on what it is given: the service watches it, kills it and starts another.
"""

from __future__ import annotations

import copy
import inspect
import os
import secrets
import signal
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from envkit.data.evidence import Evidence, FrozenEvidence
from envkit.data.message import Action, Message, Observation, ToolCall
from envkit.data.probe import Probe, Reply
from envkit.data.score import Score
from envkit.data.strict import scrub
from envkit.data.task import PublicTask, Task
from envkit.env import SEAT
from envkit.errors import FrameError, TaskError, UsageError
from envkit.judge import channel
from envkit.judge.harden import harden
from envkit.judge.keys import PUBLIC_SALT, TaskKey
from envkit.judge.pack import packed
from envkit.registry import Resolved, resolve

MEMORY = (
    4 << 30
)  # bytes of address space: a grader that eats memory gets MemoryError, the host stays alive
KEPT_TASKS = 256
_FLUSH_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class _Made:
    """A task as made, and its public part."""

    task: Task[Any]
    public: PublicTask


class AuthorError(Exception):
    """An author's code raised, or gave what it must not give; the text is safe to show."""


class Worker:
    """One environment's judge-side code, and the generators that are under way."""

    def __init__(self, resolved: Resolved, salt: bytes) -> None:
        self._env = resolved.env
        self._spec = str(resolved.spec)
        self._salt = salt
        self._golds: TypeAdapter[Any] = TypeAdapter(resolved.env._gold)
        self._made: OrderedDict[tuple[str, int], _Made] = OrderedDict()
        # by handles drawn at random: one from a worker that is gone must never name a neighbour's
        self._scripts: dict[str, Generator[Any, Any, Any]] = {}
        self._gradings: dict[str, Generator[Any, Any, Any]] = {}

    # ---- tasks ----

    def draw(self, split: str, index: int) -> dict[str, Any]:
        """The public part of a task."""
        return {"public": self._task(split, index).public.model_dump_json()}

    def names(self, split: str, index: int) -> dict[str, Any]:
        """The names of a task's near-misses."""
        task = self._task(split, index).task.model_copy(deep=True)
        with self._author("near_misses", f"{split}/{index}"):
            scripts = for_seat(self._env.near_misses, task, SEAT)
        if not (isinstance(scripts, Mapping) and all(isinstance(name, str) for name in scripts)):
            kind = type(scripts).__name__
            raise AuthorError(f"near_misses gave a {kind}, not a mapping from names to scripts")
        return {"names": list(scripts)}

    def _task(self, split: str, index: int) -> _Made:
        place = (split, index)
        made = self._made.get(place)
        if made is None:
            made = self._made[place] = self._make(split, index)
            if len(self._made) > KEPT_TASKS:
                self._made.popitem(last=False)
        return made

    def _make(self, split: str, index: int) -> _Made:
        if split not in self._env.splits:
            raise TaskError(
                f"{self._spec}: no split {split!r}; it has {', '.join(self._env.splits)}"
            )
        size = self._env.splits[split]
        if index < 0 or (size is not None and index >= size):
            raise TaskError(f"{self._spec}: split {split!r} has {size} tasks, no index {index}")
        key = TaskKey.of(self._salt, self._spec, split, index)
        with self._author("task", f"{split}/{index}"):
            task = self._env.task(split, index, key.rng())
        if not isinstance(task, Task):
            raise TaskError(f"{self._spec}: task() gave a {type(task).__name__}, not a Task")
        gold = self._gold(task.gold)
        task = task.model_copy(update={"gold": gold})
        world = self._world(task.world)
        content = {
            "prompt": task.prompt,
            "world": world,
            "gold": self._golds.dump_python(gold, mode="json"),
            "limits": task.limits.model_dump(),
        }
        public = PublicTask(
            id=key.id, prompt=task.prompt, world=world, limits=task.limits, seed=key.seed,
            digest=key.digest(content),
        )  # fmt: skip
        return _Made(task, public)

    def _gold(self, gold: Any) -> Any:
        try:
            return self._golds.validate_python(gold)
        except ValidationError as error:
            raise TaskError(f"{self._spec}: the task's gold: {self._problems(error)}") from None

    def _world(self, world: Mapping[str, Any]) -> dict[str, Any]:
        adapters = self._env._adapters
        for name in world:
            if name not in adapters:
                known = ", ".join(adapters) or "none"
                raise TaskError(
                    f"{self._spec}: the task's world names {name!r}; declared adapters: {known}"
                )
        checked: dict[str, Any] = {}
        for name, entry in world.items():
            try:
                seed = adapters[name].Seed.model_validate(entry)
            except ValidationError as error:
                problems = self._problems(error)
                raise TaskError(f"{self._spec}: world[{name!r}]: {problems}") from None
            checked[name] = seed.model_dump(mode="json")
        return checked

    # ---- scripts ----

    def script(self, split: str, index: int, name: str | None, seat: str = SEAT) -> dict[str, Any]:
        """Start the oracle (no name) or a near-miss, for one seat."""
        task = self._task(split, index).task.model_copy(deep=True)
        with self._author(name or "solve", f"{split}/{index}"):
            if name is None:
                script: Any = for_seat(self._env.solve, task, seat)
            else:
                script = for_seat(self._env.near_misses, task, seat)[name]
        if not inspect.isgenerator(script):
            raise AuthorError(f"{name or 'solve'} is no generator: it must `yield` its actions")
        handle = secrets.token_hex(8)
        self._scripts[handle] = script
        return {"script": handle}

    def next(self, script: str, observation: Mapping[str, Any] | None) -> dict[str, Any]:
        """The script's next action, or its end with the answer it returned."""
        generator = self._scripts.get(script)
        if generator is None:
            return {"refused": "gone", "why": "the script was lost with its process"}
        try:
            with self._author("script"):
                action = _send(
                    generator, None if observation is None else _observation(observation)
                )
        except _Ended as ended:
            del self._scripts[script]
            return {"done": None if ended.value is None else str(ended.value)}
        if not isinstance(action, Action):
            raise AuthorError(
                f"a script yielded a {type(action).__name__}; yield call(...) or say(...)"
            )
        calls = [
            {"name": asked.name, "arguments": scrub(asked.arguments)} for asked in action.calls
        ]
        return {"action": {"text": action.text, "thinking": action.thinking, "calls": calls}}

    def drop(self, script: str) -> dict[str, Any]:
        """Forget a script whose episode ended before it did."""
        if (generator := self._scripts.pop(script, None)) is not None:
            generator.close()
        return {}

    # ---- grading ----

    def grade(
        self, split: str, index: int, digest: str, evidence: str, nonce: str
    ) -> dict[str, Any]:
        """Grade, as far as the first batch of probes. Says `unstable` where this is not the task that was played."""
        made = self._task(split, index)
        if made.public.digest != digest:
            return {"unstable": True}
        frozen = FrozenEvidence.model_validate_json(evidence)
        gold = copy.deepcopy(made.task.gold)  # what one grading does to it must not reach the next
        with self._author("grade"):
            grading: Any = self._env.grade(Evidence(frozen, bytes.fromhex(nonce)), gold)
        if not inspect.isgenerator(grading):
            return _score(grading)
        handle = secrets.token_hex(8)
        self._gradings[handle] = grading
        return self._advance(handle, None)

    def replies(self, grading: str, replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Go on with a grading once its probes are answered."""
        if grading not in self._gradings:
            return {"refused": "gone", "why": "the grading was lost with its process"}
        return self._advance(grading, [Reply.model_validate(reply) for reply in replies])

    def leave(self, grading: str) -> dict[str, Any]:
        """Forget a grading that will not go on."""
        if (generator := self._gradings.pop(grading, None)) is not None:
            generator.close()
        return {}

    def _advance(self, handle: str, replies: list[Reply] | None) -> dict[str, Any]:
        grading = self._gradings.pop(handle)
        try:
            with self._author("grade"):
                probes = _send(grading, replies)
        except _Ended as ended:
            return _score(ended.value)
        batch = [probes] if isinstance(probes, Probe) else list(probes)
        if not batch or not all(isinstance(probe, Probe) for probe in batch):
            raise AuthorError("grade yielded something else than a batch of probes")
        self._gradings[handle] = grading
        return {"grading": handle, **packed(batch)}

    # ---- an author's code ----

    @contextmanager
    def _author(self, what: str, place: str = "") -> Iterator[None]:
        """Turn whatever an author's code raises into one line: what, where, and the message if it is no secret."""
        doing = f"{self._spec}: {what} {place}".rstrip()
        try:
            yield
        except ValidationError as error:
            raise AuthorError(f"{doing}: {error.title}: {self._problems(error)}") from None
        except (AuthorError, _Ended):
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - authors may raise anything
            frame = traceback.extract_tb(error.__traceback__)[-1]
            line = f"{Path(frame.filename).name}:{frame.lineno}"
            # under a private salt a message could quote gold, and this line leaves the judge
            message = f": {error}" if self._salt == PUBLIC_SALT else ""
            raise AuthorError(f"{doing} raised {type(error).__name__} at {line}{message}") from None

    def _problems(self, error: ValidationError) -> str:
        """Where and what, without the input: it may be gold.

        Under a private salt a validator's own words are left out, too: an author may have quoted gold in them.
        """
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        places = [".".join(map(str, problem["loc"])) or "value" for problem in problems[:4]]
        public = self._salt == PUBLIC_SALT
        words = [problem["msg"] if public else problem["type"] for problem in problems[:4]]
        return "; ".join(f"{place}: {what}" for place, what in zip(places, words, strict=True))


class _Ended(Exception):
    """A generator's end, told apart from a StopIteration that an author's code lets out."""

    def __init__(self, value: object) -> None:
        super().__init__()
        self.value = value


def _send(generator: Generator[Any, Any, Any], value: object) -> Any:
    """Start (None) or resume a generator. Raises _Ended with what it returned."""
    try:
        return generator.send(value)
    except StopIteration as end:
        raise _Ended(end.value) from None


def for_seat(write: Callable[..., Any], task: object, seat: str) -> Any:
    """What an author writes for a task; told whose part to play where it has a parameter `seat`."""
    asks = "seat" in inspect.signature(write).parameters
    return write(task, seat=seat) if asks else write(task)


def _observation(data: Mapping[str, Any]) -> Observation:
    messages = tuple(Message(item["role"], item["content"]) for item in data["messages"])
    return Observation(messages, data["fresh"])


def _score(score: object) -> dict[str, Any]:
    if not isinstance(score, Score):
        raise AuthorError(f"grade gave a {type(score).__name__}, not a Score")
    checks = {name: [check.value, scrub(check.reason)] for name, check in score.checks.items()}
    return {
        "score": {
            "reward": score.reward, "checks": checks, "reasons": scrub(list(score.reasons)),
            "seats": dict(score.seats),
        }
    }  # fmt: skip


def action_of(data: Mapping[str, Any]) -> Action:
    """An action from the form in which it travels."""
    calls = tuple(ToolCall(item["name"], item["arguments"]) for item in data["calls"])
    return Action(data["text"], calls, data["thinking"])


def _answer(worker: Worker, request: Mapping[str, Any]) -> dict[str, Any]:
    fields = {key: value for key, value in request.items() if key not in ("n", "op")}
    operations: Mapping[str, Callable[..., dict[str, Any]]] = {
        "draw": worker.draw, "names": worker.names, "script": worker.script, "next": worker.next,
        "drop": worker.drop, "grade": worker.grade, "replies": worker.replies, "leave": worker.leave,
    }  # fmt: skip
    try:
        return operations[request["op"]](**fields)
    except TaskError as error:
        return {"refused": "task", "why": str(error)}
    except (AuthorError, UsageError) as error:
        return {"refused": "author", "why": str(error)}
    except (MemoryError, RecursionError) as error:
        return {"refused": "author", "why": f"{request['op']} raised {type(error).__name__}"}


def _load(request: Mapping[str, Any]) -> tuple[Worker | None, dict[str, Any]]:
    try:
        resolved = resolve(request["spec"])
    except UsageError as error:
        return None, {"refused": "usage", "why": str(error)}
    return Worker(resolved, bytes.fromhex(request["salt"])), {"digest": resolved.digest}


def _dumped(response: dict[str, Any]) -> bytes:
    try:
        return channel.dump(response)
    except FrameError as error:
        return channel.dump({"refused": "author", "why": str(error), "n": response["n"]})


def main() -> None:
    """Take the environment's name and the salt from the first request, then answer until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    harden(memory=MEMORY)
    # ints of up to 4,300 digits: Python's own default, made certain, because it bounds a grader's time
    sys.set_int_max_str_digits(4300)
    reading, writing = channel.take_stdio()
    stream_in, stream_out = os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
    worker: Worker | None = None
    while (requests := channel.read_frame(stream_in)) is not None:
        responses: list[bytes] = []
        flushed = time.monotonic()
        for request in requests:
            if request["op"] == "load":
                worker, response = _load(request)
            elif worker is None:
                response = {"refused": "usage", "why": "no environment is loaded"}
            else:
                response = _answer(worker, request)
            responses.append(_dumped({**response, "n": request["n"]}))
            # answers go out while later ones are computed, so that the service can tell who hangs
            if request is requests[-1] or time.monotonic() - flushed > _FLUSH_SECONDS:
                stream_out.writelines(channel.frames(responses))
                stream_out.flush()
                responses, flushed = [], time.monotonic()


if __name__ == "__main__":
    main()
