"""SessionChain: one episode in several contexts, from the Floor up to a model behind an endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envkit.adapters.chain import ChainSeed, SessionChain
from envkit.data.message import Action, Message, Observation, ToolCall, call, say
from envkit.data.spec import EnvSpec
from envkit.data.task import Limits, PublicTask
from envkit.env import Env
from envkit.errors import DeclarationError, TaskError
from envkit.host import Host, HostSettings
from envkit.judge.client import Judge, JudgeSettings
from envkit.registry import resolve
from envkit.rollout.openai import OpenAIChat
from envkit.rollout.policy import policy_source
from envkit.rollout.record import Episode
from envkit.rollout.runner import Runner, RunSettings
from envkit.rollout.trial import Stage, Trial
from envkit.rollout.watchdog import Watchdog

HONEST = f"file:{Path(__file__).with_name('memory') / 'worlds.py'}:Honest"


class Three(Env):
    """Three sessions."""

    chain = SessionChain()
    evidence = [chain.said()]


async def opened(cls: type[Env] = Three, turns: int = 9, chain: Any = ("two", "three")) -> Env:
    env = cls()
    task = PublicTask(
        id="t", prompt="one", world={"chain": chain}, limits=Limits(turns=turns), seed=7, digest="d"
    )
    await env.reset(task, Host(), pack="p", group="g")
    assert await env.observe() == Observation()  # the task's own prompt is the trial's to show
    return env


async def turn(env: Env, action: Action) -> Observation:
    await env.step(action)
    return await env.observe()


async def said(env: Env) -> Any:
    (item,) = (await env.freeze()).items
    assert item.name == "chain/said.json"
    return json.loads(item.data)


def prompt(text: str) -> Observation:
    return Observation((Message("user", text),), fresh=True)


# ---- the chain itself ----


async def test_what_ends_a_session_begins_the_next_in_a_fresh_context():
    env = await opened()
    assert await turn(env, call("nothing")) == Observation()
    assert await turn(env, say("first")) == prompt("two")
    assert "agent" in env.acting
    assert await turn(env, call("submit", answer="second")) == prompt("three")
    assert await turn(env, call("nothing")) == Observation()
    await env.step(say("third"))
    assert env.acting == ()
    assert await said(env) == ["first", "second", "third"]


async def test_a_session_that_never_ends_is_ended():
    env = await opened(turns=9)
    seen = [await turn(env, call("nothing")) for _ in range(6)]
    none = Observation()
    assert seen == [none, none, prompt("two"), none, none, prompt("three")]
    assert [await turn(env, call("nothing")) for _ in range(3)] == [Observation()] * 3
    await env.step(say("the answer"))  # the last one has what is left of the task's turns
    assert await said(env) == [None, None, "the answer"]


async def test_a_session_has_the_turns_that_its_declaration_gives_it():
    class Short(Env):
        """Short sessions."""

        chain = SessionChain(turns_per_session=1)
        evidence = [chain.said()]

    env = await opened(Short)
    assert await turn(env, call("nothing")) == prompt("two")
    # said in the last turn of a session: that is its end, not the next one's
    assert await turn(env, say("in time")) == prompt("three")
    assert await said(env) == [None, "in time", None]


async def test_an_action_ends_one_session_at_most():
    env = await opened()
    twice = Action(calls=tuple(ToolCall("submit", {"answer": text}) for text in ("a", "b", "c")))
    assert await turn(env, twice) == prompt("two")
    assert env._sessions["chain"].number == 2
    await turn(env, say("d"))
    results = await env.step(twice)  # the last one ends the episode at once
    assert ["your turn was over" in message.text() for message in results.messages] == [
        False, True, True,
    ]  # fmt: skip
    assert await said(env) == ["a", "d", "a"]


async def test_what_was_said_early_is_never_the_last_word():
    env = await opened()
    await env.step(say("the right answer"))
    assert await said(env) == ["the right answer", None, None]


async def test_said_is_readable_whatever_was_said():
    env = await opened()
    await turn(env, say("\0" * 2_000_000))
    await turn(env, say("\ud800"))
    await env.step(say("é" * 2_000_000))
    (item,) = (await env.freeze()).items
    assert len(item.data) < 1 << 20
    texts = json.loads(item.data)
    assert [text[0] for text in texts] == ["\0", "?", "é"]


async def test_one_prompt_is_a_chain_of_one():
    env = await opened(chain=[])
    await env.step(say("all"))
    assert env.acting == ()
    assert await said(env) == ["all"]


async def test_time_passes_between_sessions():
    env = await opened()
    clock = env._sessions["chain"]._clock
    before = clock.now
    await turn(env, call("nothing"))
    assert clock.now == before
    await turn(env, say("x"))
    assert clock.now == before + 86_400


async def test_surfaces_are_the_prompts():
    env = await opened()
    assert await env._sessions["chain"].surfaces() == {
        "session-2.txt": b"two",
        "session-3.txt": b"three",
    }


async def test_too_few_turns_are_the_tasks_fault():
    with pytest.raises(TaskError, match=r"3 sessions of 1 turns need 3, but Limits\.turns is 2"):
        await opened(turns=2)

    class Long(Env):
        """Long sessions."""

        chain = SessionChain(turns_per_session=5)

    with pytest.raises(TaskError, match=r"need 15, but Limits\.turns is 14"):
        await opened(Long, turns=14)
    with pytest.raises(DeclarationError, match="1 or more"):
        SessionChain(turns_per_session=0)


@pytest.mark.parametrize("bad", ["two", [""], [1], {"prompts": ["x"] * 64}, {"next": ["x"]}])
def test_a_seed_that_is_no_chain_is_refused(bad):
    with pytest.raises(ValueError, match="ChainSeed"):
        ChainSeed.model_validate(bad)


# ---- the whole path ----


async def test_a_trial_shows_where_a_context_begins():
    resolved = resolve(HONEST)
    async with (
        Watchdog() as watchdog,
        Host(HostSettings()) as host,
        Judge(EnvSpec.parse(HONEST), JudgeSettings()) as judge,
    ):
        ticket = await judge.draw("train", 0)
        trial = Trial(Stage(resolved, judge, host, watchdog), ticket, episode="e", group="g")
        try:
            first = await trial.reset()
            assert first.text() == ticket.public.prompt
            assert not first.fresh
            kept = await trial.step(call("notes_view"))
            assert kept.observation.text() == "Directory /memories is empty."
            both = Action(
                "Noted.", (ToolCall("submit", {}, "c1"), ToolCall("notes_view", {}, "c2"))
            )
            # what the tools answered belongs to the context that is gone
            assert (await trial.step(both)).observation == prompt("Say hello.")
            assert (await trial.step(say("Hello."))).observation == prompt("Which code was it?")
            end = await trial.step(say("no idea"))
            assert (end.terminated, end.reward, trial.ending) == (True, 0.0, "over")
        finally:
            await trial.close()


async def played(policy: Any, out: Path | None = None) -> Episode:
    async with Runner(RunSettings(HONEST, tasks=1, concurrency=1, out=out), policy) as runner:
        episodes: list[Episode] = []
        await runner.run(episodes.append)
    return episodes[0]


async def test_a_model_is_sent_nothing_of_the_sessions_before(chat):
    """The endpoint remembers nothing either: it answers from the request alone."""

    def model(body: dict[str, Any]) -> Any:
        messages = body["messages"]
        text, last = messages[0]["content"], messages[-1]
        if last["role"] == "tool" and "File created" in last["content"]:
            return chat.says("Noted.")
        if text.startswith("The code is"):
            code = {"path": "/memories/code", "file_text": text.split()[3].rstrip(".")}
            return chat.says(calls=[chat.asks("notes_create", code)])
        if text == "Say hello.":
            return chat.says("Hello.")
        if last["role"] == "user":
            return chat.says(calls=[chat.asks("notes_view", {"path": "/memories/code"})])
        return chat.says(last["content"].rsplit("\t", 1)[-1])

    with chat.ChatServer(model) as server:
        episode = await played(OpenAIChat("openai:m", "m", base_url=server.url))
    assert episode.reward == 1.0, episode
    roles = [[message["role"] for message in body["messages"]] for body in server.requests]
    assert roles == [
        ["user"], ["user", "assistant", "tool"],
        ["user"],
        ["user"], ["user", "assistant", "tool"],
    ]  # fmt: skip
    code = server.requests[0]["messages"][0]["content"].split()[3].rstrip(".")
    holds = [code in json.dumps(body["messages"]) for body in server.requests]
    assert holds == [True, True, False, False, True]  # the last by what the memory answered
    assert (episode.ending, episode.terminated) == ("over", True)


async def test_scripts_see_the_next_prompt_and_the_record_holds_it():
    """The oracle of this world asserts that each prompt is the next one, and fresh."""
    episode = await played(policy_source("oracle"))
    assert episode.reward == 1.0, episode
    users = [message["content"] for message in episode.messages if message["role"] == "user"]
    assert users[1:] == ["Say hello.", "Which code was it?"]
