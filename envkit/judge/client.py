"""The runner's end of the judge: draw public tasks, play scripts, hand in evidence, get verdicts."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from envkit.data.message import Action, Observation
from envkit.data.score import Check, Finding, Invalid, Reason, Score, Verdict
from envkit.data.spec import EnvSpec
from envkit.data.task import PublicTask
from envkit.env import SEAT
from envkit.errors import FrameError, JudgeError, TaskError, UsageError
from envkit.host import Backend
from envkit.judge.channel import Channel, Message
from envkit.judge.worker import action_of

SERVICE = "envkit.judge.service"


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """How a judge is set up."""

    salt_file: str | None = None  # None: the public salt, or a private one drawn into `sealed`
    private: bool = False  # draw a salt of its own where no file is given
    sealed: Path | None = None  # where the judge keeps what must not leave it; None: nowhere
    backend: Backend = "auto"  # of subject slots
    concurrency: int = 8


@dataclass(frozen=True, slots=True)
class Ticket:
    """A drawn task: where it stands, and its public part."""

    split: str
    index: int
    public: PublicTask


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict, what was found on the way, and how long the judge took in seconds."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    seconds: float


class ScriptFailed(JudgeError):
    """An author's script raised, or yielded what is no action."""


class ScriptLost(JudgeError):
    """A script went with its process, which another one killed: nobody's doing in this episode."""


class PlayedScript:
    """A script that runs in the judge; its actions arrive here one by one."""

    def __init__(self, judge: Judge, handle: str) -> None:
        self._judge = judge
        self._handle = handle
        self._over = False

    async def next(self, observation: Observation | None) -> Action:
        """The next action; at the script's end its answer, then nothing more. Raises ScriptFailed."""
        if self._over:  # where a world goes on without it: the other seats have something to do
            return Action()
        shown = None if observation is None else _shown(observation)
        reply = await self._judge.ask("next", script=self._handle, observation=shown)
        if "action" in reply:
            return action_of(reply["action"])
        self._over = True
        return Action(text=reply["done"] or "")

    async def close(self) -> None:
        """Forget the script."""
        if not self._over:
            with contextlib.suppress(JudgeError):  # then it is forgotten already
                await self._judge.ask("drop", script=self._handle)


class Judge:
    """One judge service for one environment; an async context manager."""

    def __init__(self, spec: EnvSpec, settings: JudgeSettings | None = None) -> None:
        self._spec = spec
        self._settings = settings or JudgeSettings()
        self._channel: Channel | None = None
        self.digest = ""  # of the environment's source, as the judge loaded it
        self.salt = ""  # the salt's name: equal names, equal tasks
        self.public = True  # whether anybody could make these tasks again

    async def __aenter__(self) -> Judge:
        """Start the service and load the environment. Raises UsageError where it doesn't load."""
        self._channel = await Channel.start(SERVICE)
        settings = self._settings
        try:
            loaded = await self.ask(
                "load", spec=str(self._spec), salt_file=settings.salt_file,
                sealed=None if settings.sealed is None else str(settings.sealed),
                private=settings.private, backend=settings.backend, concurrency=settings.concurrency,
            )  # fmt: skip
        except BaseException:
            await self._channel.close()
            raise
        self.digest, self.salt, self.public = loaded["digest"], loaded["salt"], loaded["public"]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the pipe; the service ends its workers and gives its slots back."""
        if self._channel is not None:
            await self._channel.close(grace=20.0)

    async def ask(self, op: str, **fields: Any) -> Message:
        """One request. Raises what it was refused with."""
        if self._channel is None:
            raise JudgeError("the judge is not open")
        reply = await self._channel.call(op, **fields)
        refused = reply.get("refused")
        if refused is None:
            return reply
        if refused == "usage":
            raise UsageError(reply["why"])
        if refused == "task" or op in ("draw", "names"):
            raise TaskError(reply["why"])
        if refused == "displaced":
            raise ScriptLost(reply["why"])
        raise ScriptFailed(reply["why"])

    async def draw(self, split: str, index: int) -> Ticket:
        """Make task `index` of `split`. Raises TaskError where it does not validate."""
        reply = await self.ask("draw", split=split, index=index)
        return Ticket(split, index, PublicTask.model_validate_json(reply["public"]))

    async def check(self, ticket: Ticket) -> None:
        """Grade a task's empty evidence. Raises TaskError where the grader breaks on it."""
        digest = ticket.public.digest
        await self.ask("check", split=ticket.split, index=ticket.index, digest=digest)

    async def near_misses(self, split: str, index: int) -> tuple[str, ...]:
        """The names of a task's near-misses. Raises TaskError."""
        reply = await self.ask("names", split=split, index=index)
        return tuple(reply["names"])

    async def script(
        self, ticket: Ticket, name: str | None = None, seat: str = SEAT
    ) -> PlayedScript:
        """Start the oracle, or the near-miss of this name, for one seat."""
        reply = await self.ask(
            "script", split=ticket.split, index=ticket.index, name=name, seat=seat
        )
        return PlayedScript(self, reply["script"])

    async def grade(self, ticket: Ticket, evidence: str, episode: str) -> Judged:
        """The verdict over frozen evidence, as JSON. Never raises: a judge that is lost is an `Invalid`."""
        started = time.monotonic()
        try:
            reply = await self.ask(
                "grade", episode=episode, split=ticket.split, index=ticket.index,
                digest=ticket.public.digest, evidence=evidence,
            )  # fmt: skip
        except FrameError as error:  # evidence has its caps, so nobody should ever see this
            score = Score(0.0, reasons=(str(error),), blame="agent")
            return Judged(score, (), time.monotonic() - started)
        except (JudgeError, TaskError, UsageError) as error:
            return Judged(Invalid(Reason.JUDGE_LOST, str(error)), (), time.monotonic() - started)
        findings = tuple(Finding(**finding) for finding in reply.get("findings", ()))
        return Judged(_verdict(reply), findings, time.monotonic() - started)


def _shown(observation: Observation) -> dict[str, Any]:
    messages = [
        {"role": message.role, "content": message.text()} for message in observation.messages
    ]
    return {"messages": messages, "fresh": observation.fresh}


def _verdict(reply: Message) -> Verdict:
    if "invalid" in reply:
        return Invalid(Reason(reply["invalid"]), reply["detail"])
    score = reply["score"]
    checks = {name: Check(value) for name, value in score["checks"].items()}
    return Score(score["reward"], checks, tuple(score["reasons"]), score["seats"], score["blame"])
