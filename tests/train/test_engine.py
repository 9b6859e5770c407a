"""The embedded engine: exact, blind to its neighbours, and closed between conversations."""

import asyncio
import math
import time
from collections import Counter
from contextlib import asynccontextmanager
from random import Random

import pytest
import torch

from envkit.errors import UsageError
from envkit.train.engine import EngineClosed, EngineFailed
from envkit.train.noise import Gumbel
from envkit.train.slots import SlotEngine
from envkit.train.tiny import tiny as make_tiny
from envkit.train.types import Sampling, Thinking

SIZE = 400  # ids that the tests use; the vocabulary has a few more


@asynccontextmanager
async def engine(tiny, **options):
    made = SlotEngine(tiny.model, **options)
    try:
        yield made
    finally:
        await made.aclose()


def prompt(seed, length):
    rng = Random(seed)
    return [rng.randrange(10, SIZE) for _ in range(length)]


def full(model, ids, start):
    """The log-probabilities of `ids[start:]` by one plain forward over everything."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].float()
    logprobs = torch.log_softmax(logits, -1)
    return [logprobs[at - 1, ids[at]].item() for at in range(start, len(ids))]


def off(model, ids, completion):
    """How far the engine's log-probabilities are from a plain forward's."""
    want = full(model, [*ids, *completion.ids], len(ids))
    pairs = zip(want, completion.logprobs, completion.forced, strict=True)
    return max((abs(a - b) for a, b, forced in pairs if not forced), default=0.0)


# ---- exactness -----------------------------------------------------------------------------------


async def test_log_probabilities_are_those_of_a_full_forward(tiny, monkeypatch):
    """Ragged requests, refilled slots, chunked prefill, sessions that grow, parking and eviction."""
    monkeypatch.setattr("envkit.train.stepper.CHUNK", 16)
    seen = []

    async def talk(made, number):
        rng = Random(number)
        ids = prompt(number, rng.randint(1, 60))
        for turn in range(3):
            sampling = Sampling(key=number * 10 + turn, max_tokens=rng.randint(1, 12))
            done = await made.generate(ids, sampling, f"session {number}" if number % 3 else None)
            seen.append(off(tiny.model, ids, done))
            ids = [*ids, *done.ids, *prompt(number + turn, rng.randint(1, 40))]  # the tool's answer
            await asyncio.sleep(0.002 * rng.random())

    async with engine(tiny, slots=3) as made:
        await asyncio.gather(*(talk(made, number) for number in range(8)))
    assert len(seen) == 24
    assert max(seen) < 1e-5


@pytest.mark.parametrize("heads", [1, 2])
async def test_exact_with_shared_heads(tiny, heads):
    """Grouped keys and values, as most small models have them."""
    model, _ = make_tiny(1, layers=3)
    config = type(model.config)(**{**model.config.to_dict(), "num_key_value_heads": heads})
    torch.manual_seed(0)
    grouped = type(model)(config).eval()
    made = SlotEngine(grouped, slots=4)
    asked = [prompt(n, 5 + 7 * n) for n in range(6)]
    done = await asyncio.gather(
        *(made.generate(ids, Sampling(key=n, max_tokens=9)) for n, ids in enumerate(asked))
    )
    assert max(off(grouped, *pair) for pair in zip(asked, done, strict=True)) < 1e-5
    await made.aclose()


async def test_a_sample_does_not_depend_on_its_neighbours(tiny):
    sampling = Sampling(key=7, max_tokens=20)
    ids = prompt(1, 12)
    async with engine(tiny, slots=16) as made:
        alone = await made.generate(ids, sampling)
        others = [
            made.generate(prompt(n, 3 + 5 * n), Sampling(key=n, max_tokens=4 + n))
            for n in range(15)
        ]
        among = (await asyncio.gather(*others[:7], made.generate(ids, sampling), *others[7:]))[7]
    assert among.ids == alone.ids
    assert len(alone.ids) == 20


async def test_another_key_is_another_sample(tiny):
    ids = prompt(1, 12)
    async with engine(tiny) as made:
        keys = [await made.generate(ids, Sampling(key=key, max_tokens=12)) for key in (1, 2, 1)]
    assert keys[0].ids == keys[2].ids != keys[1].ids


async def test_cold_samples_are_greedy_and_their_log_probabilities_the_models(tiny):
    ids = prompt(3, 9)
    async with engine(tiny) as made:
        cold = await made.generate(ids, Sampling(temperature=0, max_tokens=6))
        warm = await made.generate(ids, Sampling(temperature=0.5, max_tokens=6))
    assert off(tiny.model, ids, cold) < 1e-5
    with torch.no_grad():
        logits = tiny.model(torch.tensor([[*ids, *cold.ids]])).logits[0]
    assert cold.ids == tuple(logits[len(ids) - 1 : -1].argmax(-1).tolist())
    with torch.no_grad():
        logits = tiny.model(torch.tensor([[*ids, *warm.ids]])).logits[0, len(ids) - 1].float()
    want = torch.log_softmax(logits / 0.5, -1)[warm.ids[0]].item()
    assert abs(want - warm.logprobs[0]) < 1e-5


def test_noise_samples_the_distribution():
    """Chi-square over 20,000 draws of a skewed distribution; keys and positions both give fresh noise."""
    logprobs = torch.log_softmax(torch.tensor([3.0, 1.0, 0.0, -1.0, -2.0, 2.0]), -1)
    noise = Gumbel(6, torch.device("cpu"))
    for draws in ([(5, at) for at in range(20_000)], [(key, 5) for key in range(20_000)]):
        counts = Counter((noise(draws) + logprobs).argmax(-1).tolist())
        expected = (logprobs.exp() * 20_000).tolist()
        chi = sum((counts[at] - want) ** 2 / want for at, want in enumerate(expected))
        assert chi < 25.7  # 5 degrees of freedom, p = 0.0001


def test_noise_is_gumbel_and_independent_of_its_neighbour():
    noise = Gumbel(512, torch.device("cpu"))([(9, at) for at in range(400)])
    assert abs(noise.mean().item() - 0.5772) < 0.01
    assert abs(noise.var().item() - math.pi**2 / 6) < 0.03
    for one, other in ((noise[:-1], noise[1:]), (noise[:, :-1], noise[:, 1:])):
        pair = torch.stack([one.flatten(), other.flatten()])
        assert abs(torch.corrcoef(pair)[0, 1].item()) < 0.01


# ---- isolation -----------------------------------------------------------------------------------


async def test_nothing_of_an_earlier_conversation_is_attended_to(tiny):
    """The attack: a long secret in the only slot, then a short prompt in the same one."""
    sampling = Sampling(key=3, max_tokens=10)
    short = prompt(2, 4)
    async with engine(tiny, slots=1) as fresh:
        want = await fresh.generate(short, sampling)
    async with engine(tiny, slots=1) as made:
        await made.generate(prompt(9, 200), Sampling(key=1, max_tokens=50), "secret")
        got = await made.generate(short, sampling, "spy")
        assert got == want
        assert off(tiny.model, short, got) < 1e-5


async def test_poison_in_the_cache_changes_nothing(tiny):
    """Every position that a sequence has no right to is filled with huge numbers, and nothing changes."""
    ids = [prompt(n, 5 + 6 * n) for n in range(3)]
    async with engine(tiny, slots=4) as made:
        want = await asyncio.gather(
            *(made.generate(one, Sampling(key=1, max_tokens=8)) for one in ids)
        )
        with torch.inference_mode():
            for layer in made._stepper.cache.layers:
                for stored in layer._stored:
                    stored.fill_(1e4)
        got = await asyncio.gather(
            *(made.generate(one, Sampling(key=1, max_tokens=8)) for one in ids)
        )
    assert got == want


@pytest.mark.parametrize("slots", [1, 2])
async def test_a_session_does_not_reach_another_by_the_same_tokens(tiny, slots):
    """KV is reused by session alone: what another one computed stays where it is."""
    ids = prompt(4, 30)
    async with engine(tiny, slots=slots) as made:
        await made.generate(ids, Sampling(max_tokens=2), "mine")
        with torch.inference_mode():
            for layer in made._stepper.cache.layers:
                layer._stored[1][0].fill_(1e4)  # were it used, it would show
        other = await made.generate(ids, Sampling(key=1, max_tokens=5), "yours")
        assert off(tiny.model, ids, other) < 1e-5


# ---- sessions ------------------------------------------------------------------------------------


async def work(made, monkeypatch):
    """Count the tokens that are run from now on."""
    counted = []
    take = made._stepper.cache.take

    def counting(device, dtype, rows):
        counted.append(sum(len(tokens) for _, _, tokens in rows))
        return take(device, dtype, rows)

    monkeypatch.setattr(made._stepper.cache, "take", counting)
    return counted


async def test_a_session_pays_for_its_new_tokens_alone(tiny, monkeypatch):
    ids = prompt(5, 100)
    async with engine(tiny, slots=2) as made:
        counted = await work(made, monkeypatch)
        first = await made.generate(ids, Sampling(key=1, max_tokens=4), "s")
        assert sum(counted) == 103  # the last token that was sampled has not been run yet
        counted.clear()
        await made.generate([*ids, *first.ids, 11, 12], Sampling(key=2, max_tokens=1), "s")
        assert sum(counted) == 3


async def test_a_rewritten_history_is_run_from_where_it_differs(tiny, monkeypatch):
    ids = prompt(5, 50)
    async with engine(tiny, slots=1) as made:
        await made.generate(ids, Sampling(max_tokens=4), "s")
        counted = await work(made, monkeypatch)
        changed = [*ids[:30], *prompt(6, 10)]
        again = await made.generate(changed, Sampling(key=1, max_tokens=1), "s")
        assert sum(counted) == 10
        assert off(tiny.model, changed, again) < 1e-5


async def test_the_session_parked_longest_is_evicted_and_rebuilt(tiny, monkeypatch):
    async with engine(tiny, slots=2) as made:
        prompts = {name: prompt(n, 20) for n, name in enumerate("abc")}
        for name in "aba":  # a is the one used last
            await made.generate(prompts[name], Sampling(max_tokens=1), name)
        await made.generate(prompts["c"], Sampling(max_tokens=1), "c")
        counted = await work(made, monkeypatch)
        await made.generate(prompts["a"], Sampling(max_tokens=1), "a")
        assert sum(counted) == 1
        counted.clear()
        await made.generate(prompts["b"], Sampling(max_tokens=1), "b")
        assert sum(counted) == 20


async def test_released_is_forgotten(tiny, monkeypatch):
    async with engine(tiny) as made:
        await made.generate(prompt(1, 20), Sampling(max_tokens=1), "s")
        await made.release("s")
        await made.release("never heard of")
        counted = await work(made, monkeypatch)
        await made.generate(prompt(1, 20), Sampling(max_tokens=1), "s")
        assert sum(counted) == 20


# ---- ends ----------------------------------------------------------------------------------------


async def test_stops(tiny):
    ids = prompt(1, 10)
    async with engine(tiny, context=30) as made:
        whole = await made.generate(ids, Sampling(key=1, max_tokens=50))
        assert (whole.finish, len(whole.ids)) == ("context", 20)
        cut = await made.generate(ids, Sampling(key=1, max_tokens=5))
        assert (cut.finish, cut.ids) == ("length", whole.ids[:5])
        stop = whole.ids[3]
        stopped = await made.generate(ids, Sampling(key=1, max_tokens=50, stop=(stop,)))
        assert (stopped.finish, stopped.ids[-1]) == ("stop", stop)
        assert await made.generate(prompt(1, 30), Sampling()) == type(whole)(
            (), (), (), "context", 0
        )


@pytest.mark.parametrize(
    ("ids", "sampling", "named"),
    [
        ([], Sampling(), "at least one token"),
        ([10**6], Sampling(), "outside the model's vocabulary"),
        ([-1], Sampling(), "outside the model's vocabulary"),
        ([1], Sampling(temperature=-1.0), "temperature"),
        ([1], Sampling(temperature=math.nan), "temperature"),
        ([1], Sampling(max_tokens=0), "max_tokens"),
        ([1], Sampling(thinking=Thinking(0, 1, 2, (2,))), "thinking budget"),
    ],
)
async def test_what_cannot_be_sampled_is_refused(tiny, ids, sampling, named):
    async with engine(tiny) as made:
        with pytest.raises(UsageError, match=named):
            await made.generate(ids, sampling)


def test_a_model_with_other_layers_is_refused(tiny):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    plain = tiny.model.config.to_dict()
    sliding = Qwen3Config(**{
        **plain, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0, "layer_types": None,
    })  # fmt: skip
    with pytest.raises(UsageError, match="DynamicSlidingWindowLayer"):
        SlotEngine(Qwen3ForCausalLM(sliding))


@pytest.mark.parametrize(
    ("positions", "exact"), [(lambda ids: ids, True), (lambda ids: ids - ids.min(), False)]
)
def test_a_model_that_is_not_exact_in_slots_is_refused(tiny, monkeypatch, positions, exact):
    """As one would be that makes its positions up: by where a token stands in the batch, not in its text."""
    rotary = tiny.model.model.rotary_emb
    forward = rotary.forward
    monkeypatch.setattr(rotary, "forward", lambda hidden, ids: forward(hidden, positions(ids)))
    if exact:
        SlotEngine(tiny.model)
    else:
        with pytest.raises(UsageError, match="off; the embedded engine"):
            SlotEngine(tiny.model)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
async def test_other_kinds_of_model(tiny, name):
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    made = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(
            vocab_size=SIZE, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=128)),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(
            vocab_size=SIZE, n_positions=128, n_embd=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=1)),
    }[name]().eval()  # fmt: skip
    engine = SlotEngine(made, slots=2)
    assert engine.context == 128
    asked = [prompt(n, 3 + 9 * n) for n in range(4)]
    done = await asyncio.gather(
        *(engine.generate(ids, Sampling(key=1, max_tokens=7)) for ids in asked)
    )
    assert max(off(made, *pair) for pair in zip(asked, done, strict=True)) < 1e-5
    await engine.aclose()


async def test_half_precision_samples_too(tiny):
    model, _ = make_tiny(0)
    engine = SlotEngine(model.to(torch.bfloat16).eval(), slots=4)
    asked = [prompt(n, 5 + 9 * n) for n in range(6)]
    done = await asyncio.gather(
        *(engine.generate(ids, Sampling(key=1, max_tokens=9)) for ids in asked)
    )
    assert max(off(model, *pair) for pair in zip(asked, done, strict=True)) < 0.1
    await engine.aclose()


# ---- thinking ------------------------------------------------------------------------------------


async def test_a_spent_budget_closes_the_thought(tiny):
    ids = prompt(1, 10)
    thinking = Thinking(budget=5, open=3, end=4, close=(50, 4, 51), inside=True)
    async with engine(tiny) as made:
        done = await made.generate(ids, Sampling(key=4, max_tokens=20, thinking=thinking))
    assert done.ids[5:8] == (50, 4, 51)
    assert [at for at, forced in enumerate(done.forced) if forced] == [5, 6, 7]
    assert done.logprobs[5:8] == (0.0, 0.0, 0.0)
    assert len(done.ids) == 20
    assert off(tiny.model, ids, done) < 1e-5  # what follows is sampled behind the forced tokens


async def test_outside_a_thought_nothing_is_forced(tiny):
    thinking = Thinking(budget=1, open=3, end=4, close=(4,))
    async with engine(tiny) as made:
        done = await made.generate(prompt(1, 10), Sampling(key=4, max_tokens=20, thinking=thinking))
    assert 3 not in done.ids
    assert not any(done.forced)


async def test_a_thought_may_be_opened_again_but_not_paid_for_again(tiny):
    """The budget is the turn's: a model that opens thought after thought gets no more of it."""
    ids = prompt(1, 10)
    async with engine(tiny) as made:
        first = await made.generate(ids, Sampling(key=4, max_tokens=20))
        opens = first.ids[8]  # whatever is sampled there plays `<think>`
        thinking = Thinking(budget=2, open=opens, end=4, close=(4,), inside=True)
        done = await made.generate(ids, Sampling(key=4, max_tokens=40, thinking=thinking))
    thought, inside = 0, True
    for token in done.ids:
        thought += inside and token != 4
        inside = token == opens or (inside and token != 4)
    assert thought <= 2 + done.ids.count(opens)


# ---- weights that change -------------------------------------------------------------------------


async def test_published_weights_are_used_everywhere():
    """A session that was parked, and one that is under way, both go on from keys of the new weights."""
    model, _ = make_tiny(0)
    model.eval()
    made = SlotEngine(model, slots=4)
    ids = prompt(1, 30)
    first = await made.generate(ids, Sampling(key=1, max_tokens=3), "parked")
    under_way = asyncio.create_task(made.generate(ids, Sampling(key=2, max_tokens=200), "long"))
    await asyncio.sleep(0.05)
    async with made.paused():
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        await made.publish(1)
    longer = [*ids, *first.ids, 20, 21]
    after = await made.generate(longer, Sampling(key=3, max_tokens=8), "parked")
    assert after.version == 1
    assert first.version == 0
    assert off(model, longer, after) < 1e-5
    long = await under_way
    assert long.version == 0
    assert (
        max(
            abs(a - b)
            for a, b in zip(
                full(model, [*ids, *long.ids], 30)[-20:], long.logprobs[-20:], strict=True
            )
        )
        < 1e-5
    )
    await made.aclose()


async def test_nothing_is_sampled_while_paused(tiny):
    async with engine(tiny) as made:
        async with made.paused():
            waiting = asyncio.create_task(made.generate(prompt(1, 5), Sampling(max_tokens=2)))
            done, _ = await asyncio.wait([waiting], timeout=0.1)
            assert not done
        assert (await waiting).finish == "length"


# ---- the event loop ------------------------------------------------------------------------------


async def test_the_event_loop_does_not_wait_for_the_model(tiny):
    """While 32 long completions are sampled, a timer in the loop is hardly late."""
    late = []

    async def tick():
        while True:
            asked = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - asked)

    async with engine(tiny) as made:
        ticking = asyncio.create_task(tick())
        began = time.perf_counter()
        await asyncio.gather(
            *(made.generate(prompt(n, 40), Sampling(key=n, max_tokens=60)) for n in range(32))
        )
        took = time.perf_counter() - began
        ticking.cancel()
    assert sorted(late)[len(late) // 2] < took / 5


async def test_a_cancelled_call_frees_its_slot(tiny, monkeypatch):
    async with engine(tiny, slots=1, context=4000) as made:
        counted = await work(made, monkeypatch)
        call = asyncio.create_task(made.generate(prompt(1, 5), Sampling(max_tokens=3900), "s"))
        await asyncio.sleep(0.05)
        call.cancel()
        done = await made.generate(prompt(2, 5), Sampling(max_tokens=1))
        assert done.finish == "length"
    assert len(counted) < 1000  # steps


async def test_closing_ends_what_is_under_way(tiny):
    made = SlotEngine(tiny.model, slots=1)
    calls = [
        asyncio.create_task(made.generate(prompt(n, 5), Sampling(max_tokens=3000))) for n in (1, 2)
    ]
    await asyncio.sleep(0.02)
    await made.aclose()
    assert all(
        isinstance(end, EngineClosed)
        for end in await asyncio.gather(*calls, return_exceptions=True)
    )
    with pytest.raises(EngineClosed):
        await made.generate([1], Sampling())


async def test_what_torch_raises_reaches_whoever_waits_and_no_one_else(tiny, monkeypatch):
    async with engine(tiny) as made:
        with monkeypatch.context() as broken:
            broken.setattr(
                made._stepper,
                "_forward",
                lambda *_: (_ for _ in ()).throw(RuntimeError("out of memory")),
            )
            with pytest.raises(EngineFailed, match="out of memory"):
                await made.generate(prompt(1, 5), Sampling())
        assert (await made.generate(prompt(1, 5), Sampling(max_tokens=2))).finish == "length"


def test_one_engine_serves_one_loop_after_another(tiny):
    made = SlotEngine(tiny.model, slots=2)

    async def play():
        async with made.paused():
            pass
        return await asyncio.gather(
            *(made.generate(prompt(n, 8), Sampling(key=n, max_tokens=6)) for n in range(4))
        )

    assert asyncio.run(play()) == asyncio.run(play())

    async def leave():
        asyncio.create_task(made.generate(prompt(1, 8), Sampling(max_tokens=2000)))  # noqa: RUF006
        await asyncio.sleep(0.02)

    asyncio.run(leave())
    assert len(asyncio.run(play())) == 4
    asyncio.run(made.aclose())
