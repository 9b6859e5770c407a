"""Gathering: play what has to be played, repeat it under other circumstances, have odd evidence graded."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from envkit.audit.battery import attacks
from envkit.audit.floors import RANDOM, Baited, Explorer, battery, floors, random_calls
from envkit.audit.honest import COMMANDS
from envkit.audit.play import perform
from envkit.audit.poison import kept_form, poisoned
from envkit.audit.seen import PERTURBATIONS, Drawn, Graded, Repeat, Seen
from envkit.data.score import Invalid, Reason
from envkit.errors import MissingError, TaskError
from envkit.host import Host, HostSettings
from envkit.judge.client import Judge, JudgeSettings
from envkit.rollout.play import Work
from envkit.rollout.policy import NearMisses, Oracle, PolicySource
from envkit.rollout.trial import Stage
from envkit.rollout.watchdog import Watchdog

Tell = Callable[[object], None]

REPEATS_AT_ONCE = 2
REPEAT_SECONDS = 300.0
MOST_CROSSED = 12  # pairs that are graded by probes
_NO_WORLD = (Reason.ENGINE_UNAVAILABLE, Reason.WORLD_NOT_OPENED)


async def gather(seen: Seen, tell: Tell) -> None:
    """Fill in what needs a world. What the machine can't run is noted in `seen.missing`."""
    if not seen.settings.worlds:
        seen.missing.append("worlds: not opened, as asked")
        return
    try:
        async with _stage(seen) as stage:
            first = await perform(
                stage, Oracle("oracle"), Work(seen.drawn[0].split, seen.drawn[0].index, 0)
            )
            if isinstance(first.verdict, Invalid) and first.verdict.reason in _NO_WORLD:
                seen.missing.append(f"worlds: {first.verdict.detail}")
                return
            seen.plays.append(first)
            tell(first)
            await asyncio.gather(_plays(seen, stage, tell), _repeats(seen, tell))
            await asyncio.gather(_poison(seen, stage, tell), _crossed(seen, stage, tell))
    except MissingError as error:
        seen.missing.append(f"worlds: {error}")


@asynccontextmanager
async def _stage(seen: Seen) -> AsyncGenerator[Stage]:
    settings = seen.settings
    async with AsyncExitStack() as stack:
        watchdog = await stack.enter_async_context(Watchdog())
        host = await stack.enter_async_context(
            Host(HostSettings(settings.backend, settings.concurrency))
        )
        told = JudgeSettings(backend=settings.backend, concurrency=settings.concurrency)
        judge = await stack.enter_async_context(Judge(seen.resolved.spec, told))
        yield Stage(seen.resolved, judge, host, watchdog)


# ---- episodes ------------------------------------------------------------------------------------


async def _plays(seen: Seen, stage: Stage, tell: Tell) -> None:
    """Every episode that is due, a few at a time."""
    busy = asyncio.Semaphore(seen.settings.concurrency)

    async def one(source: PolicySource, work: Work, look: bool) -> None:
        async with busy:
            with contextlib.suppress(TaskError):  # told by the checks on tasks
                played = await perform(stage, source, work, look=look)
                seen.plays.append(played)
                tell(played)

    due = await _due(seen, stage)
    async with asyncio.TaskGroup() as group:
        for source, work, look in due:
            group.create_task(one(source, work, look))


async def _due(seen: Seen, stage: Stage) -> list[tuple[PolicySource, Work, bool]]:
    env, settings = seen.resolved.env, seen.settings
    ignorant, attacking = floors(env), battery(env)
    seen.applicable = [
        one.name for one in attacks() if one.name in {**ignorant.playable, **attacking.playable}
    ]
    seen.others = [one.name for one in attacks() if one.name not in seen.applicable]
    oracle, misses, chance = Oracle("oracle"), NearMisses("near-miss"), random_calls()
    due: list[tuple[PolicySource, Work, bool]] = []
    for number, drawn in enumerate(seen.drawn):
        place = (drawn.split, drawn.index)
        if number:  # the first was played to see whether worlds open
            due.append((oracle, Work(*place, 0), False))
        with contextlib.suppress(TaskError):
            for name in await stage.judge.near_misses(*place):
                due.append((misses, Work(*place, 0, name), False))
        looks = ("nothing", "every_tool")
        due += [(ignorant, Work(*place, 0, name), name in looks) for name in ignorant.playable]
        due += [(chance, Work(*place, repeat), False) for repeat in range(RANDOM)]
    for drawn in seen.drawn[: settings.attack_tasks]:
        work = (drawn.split, drawn.index, 0)
        due += [(attacking, Work(*work, name), False) for name in attacking.playable]
    first = (seen.drawn[0].split, seen.drawn[0].index, 0)
    due.append((Baited("baited"), Work(*first), False))
    if any(type(adapter).__name__ == "Terminal" for adapter in env._adapters.values()):
        due.append((Explorer(COMMANDS), Work(*first), False))
    return due


# ---- verdicts without an episode -----------------------------------------------------------------


async def _poison(seen: Seen, stage: Stage, tell: Tell) -> None:
    """Poison instead of the first oracle's evidence."""
    for drawn in seen.drawn:
        if (oracle := seen.oracle(drawn)) is None:
            continue
        ticket = await stage.judge.draw(drawn.split, drawn.index)
        for name, evidence in poisoned(oracle.evidence):
            judged = await stage.judge.grade(ticket, evidence, f"poison-{name}")
            rules = tuple(finding.rule for finding in judged.findings)
            seen.poisoned.append(
                Graded(name, judged.verdict, rules, whole=not kept_form(oracle.evidence))
            )
            tell(judged)
        return


async def _crossed(seen: Seen, stage: Stage, tell: Tell) -> None:
    """Where grading needs probes: the oracle's evidence of one task with the gold of another."""
    if not inspect.isgeneratorfunction(seen.resolved.env.grade):
        return  # done in this process, with every pair and every field
    pairs = [
        (a, b) for a in seen.drawn for b in seen.drawn if a is not b and _apart(seen.drawn, a, b)
    ]
    for mine, other in pairs[:MOST_CROSSED]:
        if (oracle := seen.oracle(mine)) is not None:
            ticket = await stage.judge.draw(other.split, other.index)
            judged = await stage.judge.grade(
                ticket, oracle.evidence, f"cross-{mine.place}-{other.place}"
            )
            seen.crossed.append((mine, other, Graded("another task's evidence", judged.verdict)))
            tell(judged)


def _apart(every: Sequence[Drawn], a: Drawn, b: Drawn) -> bool:
    """Whether two golds differ in every field that differs anywhere."""
    if not isinstance(a.gold, dict):
        return bool(a.gold != b.gold)
    varying = [key for key in a.gold if any(one.gold.get(key) != a.gold[key] for one in every)]
    return bool(varying) and all(a.gold.get(key) != b.gold.get(key) for key in varying)


# ---- repetitions ---------------------------------------------------------------------------------


async def _repeats(seen: Seen, tell: Tell) -> None:
    limit = asyncio.Semaphore(REPEATS_AT_ONCE)

    async def one(name: str) -> None:
        async with limit:
            answer = await _repeat(seen, name)
            if "outcomes" in answer:
                outcomes = answer["outcomes"]
                seen.repeats.append(Repeat(name, outcomes, answer["seconds"]))
                late = [place for place, outcome in outcomes.items() if "late" in outcome]
                seen.missing += [f"repetition ({name}): time was over in {p}" for p in late]
            else:
                seen.missing.append(f"repetition ({name}): {answer['error']}")
            tell(name)

    await asyncio.gather(*(one(name) for name in seen.settings.perturbations))


async def _repeat(seen: Seen, name: str) -> dict[str, Any]:
    told = {
        "spec": str(seen.resolved.spec), "backend": seen.settings.backend, "worlds": seen.settings.worlds,
        "concurrency": 4 if name == "concurrency 4" else 1,
        "tasks": [(drawn.split, drawn.index) for drawn in seen.drawn],
    }  # fmt: skip
    variables = {**os.environ, **PERTURBATIONS[name]}
    async with AsyncExitStack() as stack:
        if name == "busy core":
            await stack.enter_async_context(_process("-c", "while True: pass"))
        child = await stack.enter_async_context(
            _process("-m", "envkit.audit.repeat", variables=variables)
        )
        try:
            said = child.communicate(json.dumps(told).encode())
            out, err = await asyncio.wait_for(said, REPEAT_SECONDS)
            answer: dict[str, Any] = json.loads(out)
        except TimeoutError:
            return {"error": f"it took over {REPEAT_SECONDS:g} seconds"}
        except ValueError:
            return {
                "error": (err.decode("utf-8", "replace").strip().splitlines() or ["it died"])[-1]
            }
    return answer


@asynccontextmanager
async def _process(
    *arguments: str, variables: dict[str, str] | None = None
) -> AsyncGenerator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=variables
    )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
