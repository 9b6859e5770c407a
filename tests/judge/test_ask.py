"""`ask`: no material gets its writer out of a verdict; an endpoint that is down costs nobody anything."""

from __future__ import annotations

import json

import pytest

from envkit.data.probe import Ask
from envkit.errors import SandboxUnavailable
from envkit.judge import ask as module
from envkit.judge.ask import MAX_MATERIAL, ask


@pytest.fixture
def judging(chat, monkeypatch):
    """Asks a server with one reply; gives the probe's reply and what the server was asked."""

    async def judged(reply, material: str = "please", seconds: float = 5):
        with chat.ChatServer(lambda request: reply) as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
            monkeypatch.setenv("OPENAI_API_KEY", "k")
            probe = Ask.model_construct(
                model="m", rubric="Is it polite?", material=material, seconds=seconds
            )
            return await ask(probe), server.requests

    return judged


async def test_a_verdict_is_a_ceiling(chat, judging):
    for score, ceiling in ((0.25, 0.25), (7, 1.0), (-1, 0.0), ("1", 0.0), (True, 0.0)):
        reply, _ = await judging(chat.says(json.dumps({"score": score, "reason": "so"})))
        assert (reply.ok, reply.ceiling) == (True, ceiling)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_refused_material_is_no_way_out(chat, judging, status):
    reply, requests = await judging(chat.fails(status, "flagged"))
    assert (reply.ok, reply.ceiling) == (False, 0.0)
    assert f"HTTP {status}" in reply.problem
    assert len(requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"choices": []},
        {"choices": None},
        {"choices": [{}]},
        {"choices": [{"message": {"content": None}}]},
        {"choices": [{"message": {"content": [{"text": "x"}]}}]},
        {"choices": {"a": 1}},
        {},
        [],
    ],
)
async def test_an_answer_without_text_is_a_ceiling_of_0(chat, judging, body):
    reply, _ = await judging(chat.Reply(body))
    assert (reply.ok, reply.ceiling) == (False, 0.0)


async def test_material_is_bounded_and_always_sent(chat, judging):
    material = "\ud800head" + "x" * (3 * MAX_MATERIAL) + "tail"
    _, (request,) = await judging(chat.says('{"score": 1}'), material)
    sent = request["messages"][1]["content"]
    assert len(sent) < MAX_MATERIAL + 200
    assert "head" in sent
    assert "tail\n" in sent
    assert "characters left out" in sent


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_an_endpoint_that_is_down_is_infrastructure(chat, judging, monkeypatch, status):
    with pytest.raises(SandboxUnavailable, match="the judging model m"):
        await judging(chat.fails(status, "no", retry_after="0.01"))


async def test_no_json_and_no_connection_are_infrastructure(chat, judging, monkeypatch):
    with pytest.raises(SandboxUnavailable):
        await judging(chat.Reply(b"{"))
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(SandboxUnavailable):
        await ask(Ask(model="m", rubric="r", material="x"))


async def test_material_over_which_a_model_takes_too_long_is_no_way_out(chat, judging):
    reply, requests = await judging(chat.Reply(b"{}", wait=5), seconds=0.2)
    assert (reply.ok, reply.ceiling) == (False, 0.0)
    assert "0.2 seconds" in reply.problem
    assert len(requests) == 4, "it was given another chance"
    assert module.MAX_MATERIAL == MAX_MATERIAL
