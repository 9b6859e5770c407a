"""The loop: play some groups, compare their members, take an optimizer step, publish; again.

Sampling and learning take turns on the same tensors, so every token is trained by the weights that sampled it. A run
is a folder: `run.json` says what was asked for, `metrics.jsonl` and `curve.png` what came of it, `ledger.jsonl` which
tasks were consumed, `checkpoints/` where `--resume` goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from envkit.errors import EnvkitError, UsageError
from envkit.judge.client import JudgeSettings
from envkit.registry import resolve
from envkit.rollout.play import Work
from envkit.rollout.trial import Stage
from envkit.train import checkpoint
from envkit.train.advantage import Advantages
from envkit.train.collect import Batch, Outcome, Result, Troupe, batch_of, open_stage
from envkit.train.curve import draw
from envkit.train.learner import Learner, Report
from envkit.train.ledger import Ledger, Plan, divide
from envkit.train.metrics import Metrics, read
from envkit.train.models import TINY, Loaded, load
from envkit.train.policy import EngineSource, Recorded
from envkit.train.render import Renderer
from envkit.train.run import Header, TrainSettings, agree, alone
from envkit.train.slots import SlotEngine
from envkit.train.types import Sampling
from envkit.train.warm import (
    batches,
    guess_floor,
    guesses,
    imitate,
    mixture,
    ready,
    rows_of,
    texts_of,
)

log = logging.getLogger("envkit.train")

Tell = Callable[[str, int, Mapping[str, Any]], None]

WARM_TASKS = 1024  # whose scripts a warm start imitates
PROBED = 128  # tasks beside them, on which it is tried
PROBE_EVERY = 50  # steps of it
VOCABULARY_TASKS = 64  # that `tiny` learns its tokens from
SMALL = 10_000_000  # parameters; below it, threads on a CPU wait for each other more than they work
EXPLOITS = "exploits.jsonl"


class Exploited(EnvkitError):
    """Too many episodes earn by exploits: to go on would be to train them."""


async def train(
    settings: TrainSettings, out: Path, *, resume: bool = False, tell: Tell = lambda *_: None
) -> dict[str, Any]:
    """Train, and say what came of it. Raises EnvkitError.

    Args:
        settings: what to do; a resumed run brings its own
        out: the run's folder
        resume: go on from its last checkpoint
        tell: is told every line of the metrics as it is written: its kind, the step, the values
    """
    resolved = resolve(settings.spec)
    with alone(out):
        judge = JudgeSettings(
            settings.salt_file, True, out / "sealed", settings.backend, settings.concurrency
        )
        async with open_stage(resolved, judge) as stage, AsyncExitStack() as stack:
            agree(out, Header.of(settings, stage), resume=resume)
            trainer = Trainer(settings, out, stage, tell)
            await trainer.open(stack)
            return await trainer.run()


class Trainer:
    """One run."""

    def __init__(self, settings: TrainSettings, out: Path, stage: Stage, tell: Tell) -> None:
        self._settings = settings
        self._out = out
        self._stage = stage
        self._tell = tell
        self._troupe = Troupe(stage, settings.seed, settings.concurrency)
        self._ledger = Ledger(out / checkpoint.LEDGER)
        self._started, self._cpu = time.monotonic(), time.process_time()
        self._warmed = False  # to where rewards can teach
        env = stage.resolved.env
        split, size, self._held = divide(dict(env.splits), settings.eval_tasks)
        self._plan = Plan(split, size, settings.groups, settings.group_size, settings.seed)

    # ---- to begin with ----

    async def open(self, stack: AsyncExitStack) -> None:
        """Load or make the model; where there is no checkpoint, warm it up."""
        settings = self._settings
        kept = checkpoint.found(self._out)
        self._done = kept[-1].step if kept else 0
        self._ledger.cut(self._done)
        self._loaded = await self._load(kept)
        self._renderer = Renderer(self._loaded.tokenizer, thinking=settings.thinking)
        self._renderer.check()
        model = self._loaded.model
        self._engine = SlotEngine(model, slots=settings.concurrency, context=settings.context)
        stack.push_async_callback(self._engine.aclose)
        self._metrics = stack.enter_context(Metrics(self._out, self._done if kept else -1))
        if kept:
            self._floor = float(read(self._out, "eval")[0]["guess_floor"])
        else:
            self._floor = await guess_floor(self._troupe, self._plan, self._held)
            await self._warm_up()
        self._learner = Learner(model, lr=settings.learning_rate, warmup=settings.lr_warmup)
        if kept:
            self._learner.restore(kept[-1].state())
        else:
            await self._evaluate(0)
            self._save(0)

    async def _load(self, kept: Sequence[checkpoint.Checkpoint]) -> Loaded:
        settings = self._settings
        if kept:
            loaded = load(str(kept[-1].model), device=settings.device)
        else:
            loaded = load(
                settings.model,
                seed=settings.seed,
                texts=await self._texts(),
                device=settings.device,
            )
        if loaded.parameters < SMALL and loaded.device.type == "cpu":
            import torch

            torch.set_num_threads(1)
        return loaded

    async def _texts(self) -> list[str]:
        """What `tiny` makes its tokens from: what the environment and its scripts say."""
        if self._settings.model != TINY:
            return []
        source = await mixture(self._settings.warm, self._stage.resolved.env, self._stage.judge)
        works = [group[0] for group in self._groups(VOCABULARY_TASKS)]
        return list(texts_of(await self._troupe.play(source, works)))

    def _groups(self, tasks: int) -> list[list[Work]]:
        """The first tasks of the plan, without consuming them."""
        steps = -(-tasks // self._plan.groups)
        return [group for step in range(steps) for group in self._plan.groups_of(step)][:tasks]

    async def _warm_up(self) -> None:
        """Imitate the environment's own scripts until rewards can teach the rest, or for as long as is allowed."""
        settings = self._settings
        if not settings.warm_up_steps:
            return
        scripts = await mixture(settings.warm, self._stage.resolved.env, self._stage.judge)
        tasks = min(WARM_TASKS, settings.warm_batch * settings.warm_up_steps)
        works = [group[0] for group in self._groups(tasks + PROBED)]
        samples = rows_of(await self._troupe.play(Recorded(scripts, self._renderer), works[:tasks]))
        if not samples:
            raise UsageError(
                "--warm: none of the scripts' episodes was valid; see `envkit rollout`"
            )
        learner = Learner(self._loaded.model, lr=settings.warm_rate, warmup=10)
        order = batches(samples, settings.warm_batch, settings.warm_up_steps, settings.seed)
        probes: list[tuple[int, float]] = []
        for step, batch in enumerate(order, 1):
            async with self._engine.paused():
                loss = await asyncio.to_thread(imitate, learner, batch)
            self._tell("warm", step, {"loss": loss})
            if step % PROBE_EVERY == 0 or step == settings.warm_up_steps:
                success = await self._probe(step, works[tasks:])
                probes.append((step, success))
                if ready(success, self._floor):
                    self._warmed = True
                    break
        told = {"loss": loss, "steps": step, "rows": len(samples), "probes": probes}
        self._metrics.write("warm", 0, told)

    async def _probe(self, step: int, works: Sequence[Work]) -> float:
        """The success so far, on tasks that the warm start does not imitate."""
        await self._engine.publish(0)
        success = Result.of(await self._troupe.play(self._source(keep=False), works)).success
        self._tell("probe", step, {"success": success})
        return success

    # ---- steps ----

    async def run(self) -> dict[str, Any]:
        """Take the steps that are left; what the run came to."""
        settings = self._settings
        for step in range(self._done, settings.steps):
            await self._step(step)
            last = step + 1 == settings.steps
            if last or (step + 1) % settings.eval_every == 0:
                await self._evaluate(step + 1)
            if last or (step + 1) % settings.checkpoint_every == 0:
                self._save(step + 1)
        return self._summary()

    async def _step(self, step: int) -> None:
        settings, began = self._settings, time.monotonic()
        works = self._plan.groups_of(step)
        source = self._source(keep=True)
        outcomes = await self._troupe.play(source, [work for group in works for work in group])
        self._gate(step, outcomes)
        size = settings.group_size
        groups = [outcomes[at : at + size] for at in range(0, len(outcomes), size)]
        shuffle = f"{settings.seed}/{step}/shuffle" if settings.shuffle_rewards else None
        batch = batch_of(groups, shuffle=shuffle)
        played = time.monotonic()
        async with self._engine.paused():
            reports = await asyncio.to_thread(self._learn, batch, step)
            await self._engine.publish(step + 1)
        self._ledger.add(step, works)
        seconds = {"rollout": played - began, "learn": time.monotonic() - played}
        values = {**told(outcomes, batch, reports), "seconds": seconds}
        self._watch_drift(values["drift"]["kl"])
        self._write("train", step + 1, values)

    def _learn(self, batch: Batch, step: int) -> list[Report]:
        settings = self._settings
        parts = batch.parts(settings.minibatches, f"{settings.seed}/{step}/parts")
        return [self._learner.step(part, settings.loss) for part in parts]

    def _gate(self, step: int, outcomes: Sequence[Outcome]) -> None:
        """Keep what guards found for people to read. Raises Exploited over the rate."""
        caught = [outcome for outcome in outcomes if outcome.exploits]
        if caught:
            with (self._out / EXPLOITS).open("a", encoding="utf-8") as stream:
                stream.writelines(o.episode.model_dump_json() + "\n" for o in caught)
        rate, most = len(caught) / len(outcomes), self._settings.max_exploit_rate
        if rate > most:
            rules = Counter(rule for outcome in caught for rule in set(outcome.exploits))
            names = ", ".join(f"{rule} {count}" for rule, count in rules.items())
            raise Exploited(
                f"step {step}: {rate:.0%} of the episodes are exploits ({names}), over --max-exploit-rate {most:g};"
                f" read {self._out / EXPLOITS} and mend the environment"
            )

    def _watch_drift(self, kl: float) -> None:
        exact = str(self._loaded.model.dtype) == "torch.float32"
        if kl > (1e-4 if exact else 2e-2):
            log.warning(
                "the engine and the learner disagree about the same weights: KL %.2g; ratios are biased",
                kl,
            )

    def _source(self, *, keep: bool) -> EngineSource:
        settings = self._settings
        sampling = Sampling(temperature=1.0, max_tokens=settings.turn_tokens)
        notes = {**self._loaded.describe(), "version": self._engine.version}
        return EngineSource(
            f"train:{settings.model}",
            self._engine,
            self._renderer,
            sampling,
            notes=notes,
            keep=keep,
        )

    # ---- evaluation and keeping ----

    async def _evaluate(self, step: int) -> None:
        works = self._held.works(self._settings.eval_samples)
        values = Result.of(await self._troupe.play(self._source(keep=False), works)).as_json()
        if step == 0:
            values["guess_floor"] = self._floor
            if not self._warmed and guesses(values["success"], self._floor):
                log.warning(
                    "success %.2f is under twice what a guess earns (%.2f): such a policy learns to guess;"
                    " give it a longer warm start (--warm-steps)", values["success"], self._floor,
                )  # fmt: skip
        self._write("eval", step, values)
        self._draw()

    def _draw(self) -> Path:
        return draw(self._out, f"{self._settings.spec}  ({self._settings.model})", self._floor)

    def _write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        self._metrics.write(kind, step, values)
        self._tell(kind, step, values)

    def _save(self, step: int) -> None:
        checkpoint.save(self._out, step, self._loaded.save, self._learner.state())

    def _summary(self) -> dict[str, Any]:
        evaluated, trained = read(self._out, "eval"), read(self._out, "train")
        return {
            "before": _plain(evaluated[0]), "after": _plain(evaluated[-1]), "guess_floor": self._floor,
            "curve": str(self._draw()),
            "model": str(checkpoint.found(self._out)[-1].model),
            "steps": self._settings.steps,
            "episodes": sum(entry["episodes"] for entry in trained),
            "tokens": sum(entry["tokens"]["trained"] for entry in trained),
            "exploits": sum(sum(entry["exploits"].values()) for entry in trained),
            "seconds": round(time.monotonic() - self._started, 1),
            "cpu_seconds": round(time.process_time() - self._cpu, 1),
            "out": str(self._out),
        }  # fmt: skip


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name not in ("kind", "guess_floor")}


def told(outcomes: Sequence[Outcome], batch: Batch, reports: Sequence[Report]) -> dict[str, Any]:
    """The metrics of one step."""
    made: Advantages = batch.advantages
    turns = [
        turn for outcome in outcomes for trace in outcome.traces.values() for turn in trace.turns
    ]
    first = reports[0].drift if reports else None
    last = reports[-1].drift if reports else None
    return {
        **Result.of(outcomes).as_json(),
        "groups": {
            "kept": made.kept, "all_low": made.all_low, "all_high": made.all_high, "too_few": made.too_few,
        },
        "endings": dict(Counter(str(o.episode.ending) for o in outcomes if o.valid)),
        "advantage_deviation": made.deviation,
        "tokens": {
            "trained": sum(report.tokens for report in reports),
            "sampled": sum(turn.end - turn.start for turn in turns),
            "thought": sum(turn.thought for turn in turns),
            "broken_calls": sum(turn.broken for turn in turns),
        },
        "drift": {  # of the first minibatch, whose weights are those that sampled it
            "kl": first.kl / first.tokens if first else 0.0,
            "largest": first.largest if first else 0.0,
            "clipped_low": last.low / last.tokens if last else 0.0,  # of the last: how far the step went
            "clipped_high": last.high / last.tokens if last else 0.0,
        },
        "entropy": -first.logprob / first.tokens if first else 0.0,
        "loss": reports[0].loss if reports else 0.0,
        "grad_norm": max((report.grad_norm for report in reports), default=0.0),
    }  # fmt: skip
