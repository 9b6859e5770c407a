"""What sampling costs: the embedded engine, against `generate` of transformers on the same model in the same run.

Agents' turns are ragged: each sequence wants another number of tokens. `generate` runs a wave until its longest is
done, and reads a conversation from its beginning in every turn; the engine refills freed slots and keeps what it has
read. Only tokens that were asked for count. Both sample at temperature 1, on one thread where there is no GPU.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

SEQUENCES = 16  # at once
REQUESTS = 64
PROMPT = (64, 128)  # tokens, from and to
ANSWER = (8, 96)
TURNS = 4  # of a conversation, with a tool's answer between two
TOOL = 24
ROUNDS = 3  # of both sides, by turns; the median counts
LAYERS = 4


@dataclass(frozen=True, slots=True)
class _Wish:
    """A sequence: its prompt, and how many tokens each of its turns wants."""

    key: int
    prompt: list[int]
    turns: tuple[int, ...]
    heard: list[int]  # what a tool says between two turns


async def bench_generation(model: str | None = None) -> dict[str, Any]:
    """Tokens per second of both sides; `model` is a folder, else a small one made here."""
    import torch

    from envkit.train.slots import SlotEngine

    made, name = _model(model)
    threads = torch.get_num_threads()
    if made.device.type == "cpu":
        torch.set_num_threads(1)  # what is this small loses by more
    engine = SlotEngine(made, slots=SEQUENCES, context=1024)
    try:
        figures = await _measured(made, engine)
    finally:
        await engine.aclose()
        torch.set_num_threads(threads)
    parameters = sum(parameter.numel() for parameter in made.parameters())
    figures["notes"] = [
        f"{name}: {parameters:,} parameters, {str(made.dtype).removeprefix('torch.')}, {made.device.type};"
        f" {SEQUENCES} sequences at once; useful tokens only"
    ]
    return figures


def _model(folder: str | None) -> tuple[Any, str]:
    from envkit.train.models import load
    from envkit.train.tiny import tiny

    if folder is not None:
        return load(folder).model, folder
    loaded = load("tiny")  # says what is missing, and knows the device
    model, _ = tiny(layers=LAYERS)
    return model.to(
        device=loaded.device, dtype=loaded.model.dtype
    ).eval(), "a Qwen3 made from a seed"


async def _measured(model: Any, engine: Any) -> dict[str, Any]:
    rng = Random(0)
    size = model.config.get_text_config().vocab_size
    works = {
        "": _wishes(rng, size, REQUESTS, 1, ANSWER),
        "even_": _wishes(rng, size, REQUESTS // 2, 1, (ANSWER[1] // 2,) * 2),
        "turns_": _wishes(rng, size, REQUESTS // 2, TURNS, (ANSWER[0], ANSWER[1] // 2)),
    }
    figures: dict[str, Any] = {}
    for name, wishes in works.items():
        useful = sum(sum(wish.turns) for wish in wishes)

        async def ours(wishes: Sequence[_Wish] = wishes) -> None:
            await asyncio.gather(*(_converse(engine, wish) for wish in wishes))

        async def theirs(wishes: Sequence[_Wish] = wishes) -> None:
            for first in range(0, len(wishes), SEQUENCES):
                _wave(model, wishes[first : first + SEQUENCES])

        (mine, busy), (other, other_busy) = await _by_turns(ours, theirs)
        figures[f"{name}ratio_to_generate"] = round(other / mine, 2)
        figures[f"{name}cpu_ratio_to_generate"] = round(other_busy / busy, 2)
        figures[f"{name}tokens_per_second"] = round(useful / mine)
        figures[f"{name}generate_tokens_per_second"] = round(useful / other)
    figures["counts"] = {"requests": REQUESTS, "conversations": REQUESTS // 2, "rounds": ROUNDS}
    return figures


def _wishes(rng: Random, size: int, count: int, turns: int, length: tuple[int, int]) -> list[_Wish]:
    def text(tokens: int) -> list[int]:
        return [rng.randrange(size) for _ in range(tokens)]

    return [
        _Wish(
            key,
            text(rng.randint(*PROMPT)),
            tuple(rng.randint(*length) for _ in range(turns)),
            text(TOOL),
        )
        for key in range(count)
    ]


async def _by_turns(*sides: Callable[[], Awaitable[None]]) -> list[tuple[float, float]]:
    """Median seconds of each side, by the clock and of the CPU; one after the other in every round.

    The first round warms up. A machine that is busy with other things shows in the clock, less so in the CPU's time.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in sides]
    for number in range(ROUNDS + 1):
        for side, seconds in zip(sides, taken, strict=True):
            clock, cpu = time.perf_counter(), time.process_time()
            await side()
            if number:
                seconds.append((time.perf_counter() - clock, time.process_time() - cpu))
    medians = (map(statistics.median, zip(*seconds, strict=True)) for seconds in taken)
    return [(clock, cpu) for clock, cpu in medians]


async def _converse(engine: Any, wish: _Wish) -> None:
    from envkit.train.types import Sampling

    ids, session = list(wish.prompt), str(wish.key)
    for turn in wish.turns:
        done = await engine.generate(ids, Sampling(key=wish.key, max_tokens=turn), session)
        ids += [*done.ids, *wish.heard]
    await engine.release(session)


def _wave(model: Any, wishes: Sequence[_Wish]) -> None:
    """All turns of some conversations; a wave ends when its longest does."""
    import torch
    from transformers import GenerationConfig

    texts = [list(wish.prompt) for wish in wishes]
    for turn in range(len(wishes[0].turns)):
        width = max(map(len, texts))
        ids = torch.tensor(
            [[0] * (width - len(text)) + text for text in texts], device=model.device
        )
        seen = torch.tensor(
            [[0] * (width - len(text)) + [1] * len(text) for text in texts], device=model.device
        )
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=True,
            top_k=0,
            max_new_tokens=max(wish.turns[turn] for wish in wishes),
            pad_token_id=0,
        )
        with torch.inference_mode():
            made = model.generate(ids, attention_mask=seen, generation_config=config)[
                :, width:
            ].tolist()
        for text, wish, said in zip(texts, wishes, made, strict=True):
            text += [*said[: wish.turns[turn]], *wish.heard]
