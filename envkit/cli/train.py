"""`envkit train`: its flags, what is shown while it learns, and at its end."""

# typer reads these hints when the command is made, so what they name is imported here
from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envkit.cli.output import Json, console, document, say, table

if TYPE_CHECKING:
    from rich.progress import Progress

    from envkit.train.run import TrainSettings

LEARNING = "Learning"
RUN = "The run"
STOPPED = 130
DEMO: Mapping[str, Any] = {"steps": 20, "eval_tasks": 32, "eval_every": 5}


class Loss(StrEnum):
    """What is minimised; `ce` is the warm start's."""

    CLIP = "clip"
    CISPO = "cispo"
    GSPO = "gspo"
    DPPO = "dppo"
    REINFORCE = "reinforce"


def train(  # noqa: PLR0913 - the flags of the contract, each an argument to typer
    spec: Annotated[
        str | None,
        typer.Argument(
            help="pack/env, pack/env?level=hard, file:PATH.py:CLASS", show_default=False
        ),
    ] = None,
    *,
    model: Annotated[
        str | None,
        typer.Option(help="A local Hugging Face folder, or tiny: made here (default: tiny)."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Of learning (default: 60).")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything (default: 0).")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda (default: auto).")] = None,
    warm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME:WEIGHT,...",
            rich_help_panel=LEARNING,
            help="The scripts that a warm start imitates: solve, near-misses (default: the environment's).",
        ),
    ] = None,
    warm_steps: Annotated[
        int | None,
        typer.Option(
            help="Of it, at most: it ends where rewards can teach (default: 1200 for tiny, else 0).",
            rich_help_panel=LEARNING,
        ),
    ] = None,
    groups: Annotated[
        int | None, typer.Option(help="Tasks of a step (default: 16).", rich_help_panel=LEARNING)
    ] = None,
    group_size: Annotated[
        int | None, typer.Option(help="Episodes of a task (default: 8).", rich_help_panel=LEARNING)
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Learning rate (default: by model).", rich_help_panel=LEARNING),
    ] = None,
    loss: Annotated[
        Loss | None, typer.Option(help="(default: clip).", rich_help_panel=LEARNING)
    ] = None,
    minibatches: Annotated[
        int | None,
        typer.Option(
            help="Optimizer steps of a step, 1 or 2 (default: 2).", rich_help_panel=LEARNING
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            help="Of one turn (default: 48 for tiny, else 1024).", rich_help_panel=LEARNING
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(help="Tokens of a conversation (default: 8192).", rich_help_panel=LEARNING),
    ] = None,
    thinking: Annotated[
        str | None,
        typer.Option(
            help="off, on, or a budget of tokens for each turn (default: off).",
            rich_help_panel=LEARNING,
        ),
    ] = None,
    shuffle_rewards: Annotated[
        bool | None,
        typer.Option(
            "--shuffle-rewards",
            rich_help_panel=LEARNING,
            help="A control: rewards are dealt out at random, and nothing may be learned.",
        ),
    ] = None,
    max_exploit_rate: Annotated[
        float | None,
        typer.Option(
            help="Stop where more of a step's episodes are exploits (default: 0.05).",
            rich_help_panel=RUN,
        ),
    ] = None,
    eval_tasks: Annotated[
        int | None, typer.Option(help="Held out (default: 64).", rich_help_panel=RUN)
    ] = None,
    eval_samples: Annotated[
        int | None, typer.Option(help="Of each of them (default: 4).", rich_help_panel=RUN)
    ] = None,
    eval_every: Annotated[
        int | None, typer.Option(help="Steps (default: 20).", rich_help_panel=RUN)
    ] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Steps (default: 20).", rich_help_panel=RUN)
    ] = None,
    salt_file: Annotated[
        str | None,
        typer.Option(
            help="Keys the tasks (default: one is drawn and kept with the run).",
            rich_help_panel=RUN,
        ),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(help="Episodes at once (default: 128).", rich_help_panel=RUN)
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(help="auto, docker or bubblewrap (default: auto).", rich_help_panel=RUN),
    ] = None,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo", help="Fewer steps: two or three minutes of CPU.", rich_help_panel=RUN
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder (default: runs/...).", rich_help_panel=RUN)
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on from the last checkpoint in --out.", rich_help_panel=RUN
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model by reinforcement learning on an environment, and show what it learned."""
    flags = {
        "spec": spec, "model": model, "steps": steps, "seed": seed, "device": device, "warm": warm,
        "warm_steps": warm_steps, "groups": groups, "group_size": group_size, "lr": lr,
        "loss": None if loss is None else loss.value, "minibatches": minibatches,
        "max_tokens": max_tokens, "context": context, "thinking": _thinking(thinking),
        "shuffle_rewards": shuffle_rewards, "max_exploit_rate": max_exploit_rate,
        "eval_tasks": eval_tasks, "eval_samples": eval_samples, "eval_every": eval_every,
        "checkpoint_every": checkpoint_every, "salt_file": salt_file, "concurrency": concurrency,
        "backend": backend,
    }  # fmt: skip
    given = {name: value for name, value in flags.items() if value is not None}
    raise typer.Exit(
        _train({**DEMO, **given} if demo else given, out, resume=resume, as_json=as_json)
    )


def _thinking(text: str | None) -> str | int | None:
    return int(text) if text is not None and text.isdecimal() else text


def _train(given: dict[str, Any], out: Path | None, *, resume: bool, as_json: bool) -> int:
    from envkit.errors import UsageError
    from envkit.train.run import require

    require()
    from envkit.train.loop import train as run

    if resume and out is None:
        raise UsageError("--resume goes on with the run in a folder; add --out DIR")
    settings = _settings(given, out if resume else None)
    out = out or _new_folder(settings)
    try:
        with _watching(settings) as tell:
            made = asyncio.run(run(settings, out, resume=resume, tell=tell))
    except KeyboardInterrupt:
        say("envkit: stopped; go on from the last checkpoint with:")
        say(f"  envkit train --resume --out {shlex.quote(str(out))}")
        return STOPPED
    document(made) if as_json else _print(made)
    return 0


def _settings(given: dict[str, Any], kept: Path | None) -> TrainSettings:
    """What was asked for; a resumed run brings what it was begun with. Raises UsageError, naming the wrong flag."""
    from pydantic import ValidationError

    from envkit.errors import UsageError
    from envkit.train.run import Header, TrainSettings

    before = Header.read(kept).settings.model_dump() if kept is not None else {}
    settings = {**before, **given}
    if "spec" not in settings:
        raise UsageError("which environment? Write its spec, such as starter/lookup (envkit list)")
    try:
        return TrainSettings.model_validate(settings)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0])
        flag = name.replace("_", "-")
        raise UsageError(f"--{flag} {settings[name]!r}: {problem['msg']}") from None


def _new_folder(settings: TrainSettings) -> Path:
    name = re.sub(r"[^A-Za-z0-9._]+", "-", settings.spec.rpartition("/")[2]).strip("-.")[:60]
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")[:-3]
    return Path("runs") / f"train-{name}-{stamp}"


# ---- what is shown -------------------------------------------------------------------------------

Tell = Callable[[str, int, Mapping[str, Any]], None]


@contextlib.contextmanager
def _watching(settings: TrainSettings) -> Iterator[Tell]:
    """A progress bar on stderr where that is a terminal, and a line for every evaluation."""
    screen = console(stderr=True)

    def line(kind: str, step: int, values: Mapping[str, Any]) -> None:
        if kind == "probe":
            say(f"warm {step:>4}: success {values['success']:.3f}")
        elif kind == "eval":
            floor = f", best guess {values['guess_floor']:.2f}" if "guess_floor" in values else ""
            say(
                f"step {step:>4}: held out {values['success']:.3f},"
                f" {values['calls']:.2f} calls an episode{floor}"
            )

    if not screen.is_terminal:
        yield line
        return
    with _bar() as bar:
        totals = {"warm": settings.warm_up_steps, "train": settings.steps}
        names = {"warm": "warm start", "train": "learning"}
        bars = {k: bar.add_task(names[k], total=totals[k], told="") for k in totals if totals[k]}

        def tell(kind: str, step: int, values: Mapping[str, Any]) -> None:
            if kind in bars:
                bar.update(bars[kind], completed=step, told=_told(kind, values))
            else:
                line(kind, step, values)
            if kind == "eval" and "warm" in bars:  # it may have ended before its last step
                bar.update(bars["warm"], total=bar.tasks[bars["warm"]].completed)

        yield tell


def _told(kind: str, values: Mapping[str, Any]) -> str:
    if kind == "warm":
        return f"loss {values['loss']:.3f}"
    caught = sum(values["exploits"].values())
    exploits = f"  exploits {caught}" if caught else ""
    return f"success {values['success']:.2f}  calls {values['calls']:.1f}{exploits}"


def _bar() -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("eta"), TimeRemainingColumn(), TextColumn("{task.fields[told]}"),
        console=console(stderr=True),
    )  # fmt: skip


def _print(made: Mapping[str, Any]) -> None:
    rows = [
        (name, *(f"{made[when][name]:.3f}" for when in ("before", "after")))
        for name in ("success", "calls", "turns")
    ]
    rows.append(("best guess", f"{made['guess_floor']:.3f}", ""))
    console().print(table(("held out", ">before", ">after"), rows))
    facts = (
        f"{made['steps']} steps, {made['episodes']:,} episodes, {made['tokens']:,} trained tokens"
    )
    console().print(f"{facts}, {made['seconds']:.0f} s ({made['cpu_seconds']:.0f} s of CPU)")
    for name in ("curve", "model"):
        console().print(f"{name}: {made[name]}", soft_wrap=True)
