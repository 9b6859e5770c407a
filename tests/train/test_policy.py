"""A model that plays: what the learner gets is what the engine saw."""

import json
from pathlib import Path
from random import Random

import pytest
import torch

from envkit.cli import main
from envkit.data.message import Action, Message, Observation, ToolCall
from envkit.data.score import Reason
from envkit.data.tool import tool_of
from envkit.rollout.policy import Casting, Oracle, PolicyStopped
from envkit.rollout.record import read_episodes
from envkit.rollout.runner import Runner, RunSettings
from envkit.train.engine import EngineFailed
from envkit.train.local import LocalModel
from envkit.train.policy import EngineSource, Recorded, Transcript
from envkit.train.render import Renderer
from envkit.train.slots import SlotEngine
from envkit.train.types import Completion, Sampling, Trace

COUNTER = f"file:{Path(__file__).parent.parent / 'worlds' / 'counter.py'}:Counter"


def add(n: int) -> str:
    """Add a number."""
    return str(n)


SHORT = Sampling(max_tokens=12)
TOOLS = (tool_of(add, "add"),)


def casting(seed=0):
    return Casting(ticket=None, judge=None, tools=TOOLS, rng=Random(seed), seat="solo")


def told(*messages, fresh=False):
    return Observation(tuple(messages), fresh)


class Says:
    """An engine that says what it is told to, and remembers what it was asked."""

    capacity, context, version = 1, 4096, 3

    def __init__(self, renderer, *actions):
        self._turns = [renderer.spoken(one) if isinstance(one, Action) else one for one in actions]
        self.asked = []

    async def generate(self, ids, sampling, session=None):
        self.asked.append((list(ids), sampling, session))
        turn = self._turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        if isinstance(turn, Completion):
            return turn
        size = len(turn)
        return Completion(tuple(turn), (-1.0,) * size, (False,) * size, "stop", self.version)

    async def release(self, session):
        self.asked.append(("released", session))


class Watched(SlotEngine):
    """An engine that remembers what it was asked and what it said."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.seen = []

    async def generate(self, ids, sampling, session=None):
        said = await super().generate(ids, sampling, session)
        self.seen.append((list(ids), said))
        return said


async def opened(engine, renderer, sampling=SHORT, seed=0):
    source = EngineSource("test", engine, renderer, sampling)
    return source, await source.open(casting(seed))


# ---- token in, token out -------------------------------------------------------------------------


async def test_the_learner_gets_what_the_engine_saw(tiny, renderer):
    """Ids, mask and log-probabilities of the row against each prompt, each completion, and a full forward."""
    engine = Watched(tiny.model, slots=2)
    _, policy = await opened(engine, renderer)
    await policy(told(Message("user", "Find A.")))
    for text in ("7", "no such key", "<|im_end|>"):
        await policy(told(Message("user", text)))
    await policy.aclose()
    (row,) = policy.trace.rows
    assert len(row.ids) == len(row.mask) == len(row.logprobs)
    sampled = [0] * len(row.ids)
    for ids, said in engine.seen:
        assert row.ids[: len(ids)] == ids
        assert row.ids[len(ids) : len(ids) + len(said.ids)] == list(said.ids)
        assert row.logprobs[len(ids) : len(ids) + len(said.ids)] == list(said.logprobs)
        sampled[len(ids) : len(ids) + len(said.ids)] = [1] * len(said.ids)
    assert row.mask == sampled
    assert sum(sampled) == policy.usage.completion_tokens == policy.trace.sampled
    with torch.no_grad():
        logits = tiny.model(torch.tensor([row.ids])).logits[0].float()
    mine = torch.log_softmax(logits, -1)
    far = [
        abs(mine[at - 1, row.ids[at]].item() - row.logprobs[at])
        for at, one in enumerate(row.mask)
        if one
    ]
    assert max(far) < 1e-5
    assert all(row.logprobs[at] == 0 for at, one in enumerate(row.mask) if not one)
    await engine.aclose()


async def test_a_turn_that_was_cut_off_is_ended_for_it(tiny, renderer):
    """The context stays well-formed; the end that nobody sampled is not trained."""
    engine = Watched(tiny.model, slots=2)
    _, policy = await opened(engine, renderer, Sampling(max_tokens=3))
    await policy(told(Message("user", "Find A.")))
    (row,) = policy.trace.rows
    assert row.turns[0].finish == "length"
    assert (row.ids[-1], row.mask[-1]) == (renderer.end, 0)
    assert row.ids[row.turns[0].start : row.turns[0].end] == list(engine.seen[0][1].ids)
    await engine.aclose()


async def test_the_same_run_seed_says_the_same(tiny, renderer):
    said = []
    for seed in (1, 2, 1):
        engine = SlotEngine(tiny.model, slots=2)
        _, policy = await opened(engine, renderer, seed=seed)
        said.append((await policy(told(Message("user", "Find A.")))).text)
        await engine.aclose()
    assert said[0] == said[2] != said[1]


# ---- conversations -------------------------------------------------------------------------------

ADD = Action("", (ToolCall("add", {"n": 2}, "x"),))


async def test_a_tools_result_follows_its_call(renderer):
    engine = Says(renderer, ADD, Action("done"))
    source, policy = await opened(engine, renderer)
    action = await policy(told(Message("user", "Reach 2.")))
    (call,) = action.calls
    assert (call.name, call.arguments) == ("add", {"n": 2})
    last = await policy(told(Message("tool", "2", call_id=call.id)))
    assert last == Action("done")
    await policy.aclose()
    assert renderer.text(policy.trace.rows[0].ids) == (
        "<|im_start|>system\nadd(n)\n<|im_end|><|im_start|>user\nReach 2.<|im_end|><|im_start|>assistant\n"
        '<tool_call>{"name": "add", "arguments": {"n": 2}}</tool_call><|im_end|>'
        "<|im_start|>user\n<tool_response>2</tool_response><|im_end|><|im_start|>assistant\ndone<|im_end|>"
    )
    assert [turn.calls for turn in policy.trace.turns] == [1, 0]
    assert policy.trace.version == 3
    assert engine.asked[0][2] == engine.asked[1][2] == engine.asked[2][1]  # one session, released
    assert source.take("-") == {"solo": policy.trace}
    assert source.take("-") == {}


async def test_a_fresh_observation_begins_a_row(renderer):
    engine = Says(renderer, ADD, Action("a"), Action("b"))
    _, policy = await opened(engine, renderer)
    await policy(told(Message("user", "one")))
    await policy(
        told(Message("tool", "2", call_id="call00000"), Message("user", "two"), fresh=True)
    )
    await policy(told(Message("user", "three")))
    first, second = policy.trace.rows
    assert "one" not in renderer.text(second.ids)
    assert "<tool_response>" not in renderer.text(second.ids)  # its call is in no context any more
    assert len(second.turns) == 2
    keys = [sampling.key for _, sampling, _ in engine.asked]
    assert keys[0] != keys[1] == keys[2]
    assert first.ids[-1] == renderer.end


async def test_a_broken_call_is_a_call_that_the_world_refuses(renderer, tiny):
    broken = tiny.tokenizer('<tool_call>{"name": "add", "arg</tool_call><|im_end|>')["input_ids"]
    _, policy = await opened(Says(renderer, broken), renderer)
    (call,) = (await policy(told(Message("user", "x")))).calls
    assert (call.name, call.arguments) == ("add", '{"name": "add", "arg')
    assert policy.trace.turns[0].broken == 1


async def test_a_rewritten_history_splits_rows_and_loses_nothing(tiny):
    """Every token that was sampled is in exactly one row, behind the context that it was sampled from."""
    import copy

    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{%- if message.reasoning_content -%}", "{%- if message.reasoning_content and loop.last -%}"
    )
    renderer = Renderer(tokenizer, thinking="on")
    renderer.check()
    assert renderer.split
    thoughtful = Action("", ADD.calls, "Hm.")
    engine = Says(renderer, thoughtful, ADD, Action("done"))
    _, policy = await opened(engine, renderer)
    await policy(told(Message("user", "Reach 2.")))
    await policy(told(Message("tool", "2", call_id="call00000")))
    await policy(told(Message("tool", "4", call_id="call00001")))
    first, second = (
        policy.trace.rows
    )  # the second turn thought nothing, so the third goes on in its row
    assert [len(first.turns), len(second.turns)] == [1, 2]
    for row, asked in (
        (first, engine.asked[0]),
        (second, engine.asked[1]),
        (second, engine.asked[2]),
    ):
        assert row.ids[: len(asked[0])] == asked[0]
    assert policy.trace.sampled == policy.usage.completion_tokens
    assert "Hm." in renderer.text(first.ids)
    assert "Hm." not in renderer.text(second.ids)


async def test_a_budget_of_thought_is_the_turns(tiny):
    renderer = Renderer(tiny.tokenizer, thinking=6)
    renderer.check()
    engine = Says(renderer, Action("x"))
    _, policy = await opened(engine, renderer)
    await policy(told(Message("user", "x")))
    assert engine.asked[0][1].thinking.budget == 6


def test_forced_tokens_are_not_trained(renderer):
    trace = Trace()
    transcript = Transcript(renderer, TOOLS, trace)
    transcript.hear(told(Message("user", "x")))
    transcript.say(
        Completion(
            (3, 90, 4, 91, 0),
            (-1.0, -1.0, 0.0, -1.0, -1.0),
            (False, False, True, False, False),
            "stop",
            0,
        )
    )
    assert trace.rows[0].mask[-5:] == [1, 1, 0, 1, 1]
    assert trace.turns[0].thought == 1


# ---- ends ----------------------------------------------------------------------------------------


async def test_a_full_context_stops_the_policy(tiny, renderer):
    engine = SlotEngine(tiny.model, slots=1, context=40)
    _, policy = await opened(engine, renderer, Sampling(max_tokens=100))
    with pytest.raises(PolicyStopped, match="context of 40"):
        await policy(told(Message("user", "x")))
    assert policy.trace.stop == "context"
    assert len(policy.trace.rows[0].ids) == 41  # the end that was put there is in no prompt
    _, late = await opened(engine, renderer)
    with pytest.raises(PolicyStopped):
        await late(told(Message("user", "long " * 50)))
    assert late.trace.sampled == 0
    await engine.aclose()


async def play(source, **settings):
    episodes = []
    async with Runner(RunSettings(spec=COUNTER, **settings), source) as runner:
        await runner.run(episodes.append)
    return episodes


async def test_an_engine_that_fails_is_infrastructure(renderer, monkeypatch):
    monkeypatch.setattr("envkit.rollout.runner.BACKOFF", 0)
    source = EngineSource(
        "test", Says(renderer, *[EngineFailed("no memory")] * 3), renderer, Sampling()
    )
    (episode,) = await play(source, tasks=1)
    assert (episode.invalid, episode.detail) == (Reason.POLICY_FAILED, "no memory")


# ---- under the runner ----------------------------------------------------------------------------


async def test_traces_are_kept_by_episode(tiny, renderer):
    engine = SlotEngine(tiny.model, slots=4)
    source = EngineSource("engine", engine, renderer, Sampling(max_tokens=10))
    episodes = await play(source, tasks=3, repeats=2)
    assert len(episodes) == 6
    keys = set()
    for episode in episodes:
        ((_, trace),) = source.take(episode.id).items()
        assert trace.episode == episode.id
        assert episode.tokens.completion == trace.sampled
        assert episode.policy["max_tokens"] == 10
        keys.add(tuple(trace.rows[0].ids))
    assert len(keys) == 6  # members of a group sample apart
    assert not source.traces
    assert not any(slot.session for slot in engine._slots)  # nothing stays behind
    await engine.aclose()


async def test_an_oracle_is_written_down_as_a_model_would_have_said_it(renderer):
    source = Recorded(Oracle("oracle"), renderer)
    (episode,) = await play(source, tasks=1)
    assert episode.reward == 1.0
    ((_, trace),) = source.take(episode.id).items()
    (row,) = trace.rows
    text = renderer.text(row.ids)
    assert text.count("<tool_response>") == text.count("<tool_call>") == len(trace.turns) - 1
    trained = renderer.text([one for one, mask in zip(row.ids, row.mask, strict=True) if mask])
    assert trained.startswith(
        '<tool_call>{"name": "add", "arguments": {"n": 5}}</tool_call><|im_end|>'
    )
    assert trained.endswith("done<|im_end|>")
    chat = [{k: v for k, v in m.items() if v} for m in episode.messages]
    assert next(m["tool_call_id"] for m in chat if m["role"] == "tool") == "call00000"


# ---- `hf:` ---------------------------------------------------------------------------------------


def test_a_saved_model_plays(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.save(tmp_path / "model")
    asked = [
        "rollout",
        COUNTER,
        "--policy",
        "hf:model",
        "--tasks",
        "2",
        "--max-tokens",
        "8",
        "--json",
    ]
    runs = []
    for name, more in (("warm", []), ("cold", ["--temperature", "0"])):
        assert main([*asked, "--out", name, *more]) == 0
        assert json.loads(capsys.readouterr().out)["episodes"] == 2
        runs.append([episode.messages[-1]["content"] for episode in read_episodes(tmp_path / name)])
    assert sorted(runs[0]) != sorted(runs[1])
    described = read_episodes(tmp_path / "warm")[0].policy
    assert described["model"] == "model"
    assert (described["temperature"], described["max_tokens"], described["dtype"]) == (
        1.0,
        8,
        "float32",
    )


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--policy", "hf:nowhere"], "nowhere: no such folder"),
        (["--policy", "hf:"], "no policy is called 'hf:'"),
        (["--policy", "hf:tiny", "--price", "1:2"], "--price is for --policy openai:..."),
        (["--policy", "hf:tiny", "--max-tokens", "0"], "max_tokens 1 or more"),
        (
            ["--policy", "oracle", "--temperature", "0"],
            "--temperature is for --policy openai:... or hf:...",
        ),
    ],
)
def test_wrong_use_is_one_clear_error(tmp_path, capsys, monkeypatch, more, named):
    monkeypatch.chdir(tmp_path)
    assert main(["rollout", COUNTER, *more]) == 2
    assert named in capsys.readouterr().err


async def test_its_engine_closes_with_the_run():
    source = LocalModel("hf:tiny", "tiny", max_tokens=4, slots=1)
    await play(source, tasks=1)
    assert source._own._closed
