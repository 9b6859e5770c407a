"""What `envkit rollout` does: settle the settings, play, keep the record, report."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from envkit.cli.output import console, document, say
from envkit.cli.progress import Tally, watching
from envkit.cli.settings import RunConfig, configure, refuse_too_many
from envkit.cli.show import recorded, show_episodes, shown_as_json
from envkit.data.spec import EnvSpec
from envkit.errors import EnvkitError, UsageError
from envkit.judge.client import Judge, JudgeSettings
from envkit.rollout.policy import PolicySource, policy_source
from envkit.rollout.record import RUN, Episode
from envkit.rollout.runner import Runner, RunSettings, Summary

CONFIG = "config.toml"
STOPPED = 130
_ID = re.compile(r"[0-9a-f]{20}")


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for: the flags that decide a run, and what to do with it."""

    flags: Mapping[str, Any]
    config: Path | None = None
    resume: bool = False
    task: str | None = None
    show: bool = False
    as_json: bool = False


def carry_out(order: Order) -> int:
    """Play or show; the exit status. Raises EnvkitError."""
    out = order.flags.get("out")
    if order.show and order.task is None:
        raise UsageError("--show shows one task; add --task ID (its index or its id)")
    if order.resume and out is None:
        raise UsageError("--resume goes on with the run in a folder; add --out DIR")
    if order.show and not order.resume and out is not None and (Path(out) / RUN).exists():
        episodes = recorded(Path(out), order.task or "")
        _report_shown(Path(out), episodes, order)
        return 0
    return _play(order)


def _play(order: Order) -> int:
    config = _settled(order)
    source = _source(config)
    if order.task is not None:
        first = asyncio.run(_find(config, order.task))
        config = config.model_copy(update={"first": first, "tasks": 1})
    refuse_too_many(config)
    out = Path(config.out) if config.out else _new_folder(config)
    ours = not out.exists()
    _writable(out)
    tally = Tally(config)
    try:
        summary = asyncio.run(_run(config, source, out, order, tally))
    except KeyboardInterrupt:
        say("envkit: stopped")
        _tell_kept(out, tally, ours=ours)
        return STOPPED
    except EnvkitError:
        _tell_kept(out, tally, ours=ours)
        raise
    _report(config, summary, out, order, tally)
    return int(tally.fell_short)


def _source(config: RunConfig) -> PolicySource:
    """Who plays. A model in this process is the trainer's to open: rollouts know of no model."""
    head, _, folder = config.policy.partition(":")
    if head == "hf" and folder:
        from envkit.train.local import LocalModel

        return LocalModel(config.policy, folder, **config.policy_options())
    return policy_source(config.policy, **config.policy_options())


def _settled(order: Order) -> RunConfig:
    """The effective configuration; a resumed run brings its own."""
    out = order.flags.get("out")
    kept = Path(out) / CONFIG if out else None
    file = order.config
    if file is None and order.resume and kept is not None and kept.exists():
        file = kept
    return configure(file, order.flags)


def _new_folder(config: RunConfig) -> Path:
    words = f"{EnvSpec.parse(config.spec).path.rpartition('/')[2]}-{config.policy}"
    name = re.sub(r"[^A-Za-z0-9._]+", "-", words).strip("-.")[:80]
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
    return Path("runs") / f"{name}-{stamp}"


def _writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}; choose another folder") from None
    if not os.access(out, os.W_OK | os.X_OK):
        raise UsageError(f"--out {out}: not writable; choose another folder")


async def _find(config: RunConfig, task: str) -> int:
    """The index of a task that is named by its index or by its id."""
    if task.isdecimal() and len(task) < 20:
        return int(task)
    if not _ID.fullmatch(task):
        raise UsageError(f"--task {task!r}: give an index (0, 1, ...) or an id of 20 hex digits")
    async with Judge(EnvSpec.parse(config.spec), JudgeSettings(config.salt_file)) as judge:
        for index in range(config.first, config.first + config.tasks):
            if (await judge.draw(config.split, index)).public.id == task:
                return index
    raise UsageError(
        f"--task {task}: not among the first {config.tasks} tasks of {config.split!r};"
        " raise --tasks, or give the run's --salt-file"
    )


async def _run(
    config: RunConfig, source: PolicySource, out: Path, order: Order, tally: Tally
) -> Summary:
    settings = RunSettings(
        spec=config.spec, split=config.split, tasks=config.tasks, first=config.first,
        repeats=config.repeats, concurrency=config.concurrency, seed=config.seed or 0,
        backend=config.backend, salt_file=config.salt_file, out=out, resume=order.resume,
    )  # fmt: skip
    async with Runner(settings, source) as runner:
        _keep(config, out)
        with watching(tally) as tell:
            return await runner.run(tell)


def _keep(config: RunConfig, out: Path) -> None:
    """Write the effective configuration, whole or not at all; a resumed run keeps its first one."""
    path = out / CONFIG
    if not path.exists():
        waiting = path.with_suffix(".tmp")
        waiting.write_text(config.as_toml(), "utf-8")
        waiting.replace(path)


# ---- what is said afterwards ---------------------------------------------------------------------


def _tell_kept(out: Path, tally: Tally, *, ours: bool) -> None:
    """How to go on; a folder that this run made and put nothing into goes."""
    if not tally.seen:
        if ours:
            shutil.rmtree(out, ignore_errors=True)
        return
    say(f"{tally.seen} episodes are in {out}; go on with:")
    say(f"  envkit rollout --resume --out {shlex.quote(str(out))}")


def _report(config: RunConfig, summary: Summary, out: Path, order: Order, tally: Tally) -> None:
    for detail in tally.details():
        say(f"envkit: invalid: {detail}")
    if not summary.episodes:
        say("envkit: nothing was played: near_misses() gives no script for these tasks")
    elif config.policy == "oracle" and tally.unsolved and not order.show:
        say(f"envkit: the oracle left {len(tally.unsolved)} of {tally.seen} unsolved; see why:")
        show = f"--task {min(tally.unsolved)} --show"
        say(f"  envkit rollout --out {shlex.quote(str(out))} {show}")
    if order.show:
        _report_shown(out, recorded(out, str(config.first)), order, summary)
    elif order.as_json:
        document({**summary.as_json(), "out": str(out)})
    else:
        for made in tally.tables(summary):
            console().print(made, end="\n\n")
        console().print(f"record: {out}", soft_wrap=True)


def _report_shown(
    out: Path, episodes: list[Episode], order: Order, summary: Summary | None = None
) -> None:
    """The judge's reasons are read here: every world is closed by now."""
    if order.as_json:
        head = summary.as_json() if summary else {}
        document({**head, "out": str(out), "shown": shown_as_json(out, episodes)})
    else:
        show_episodes(out, episodes)
