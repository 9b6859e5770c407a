"""`openai:MODEL` against a real server: what is sent, what comes back, whose fault it is."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from envkit.data.message import Action, Image, Message, Observation, ToolCall
from envkit.data.strict import scrub
from envkit.data.tool import BadArguments, tool_of
from envkit.errors import MissingError, UsageError
from envkit.rollout.openai import ChatPolicy, OpenAIChat, answer, client
from envkit.rollout.openai.answer import CallIds, read_answer
from envkit.rollout.openai.context import NO_RESULT, NOTHING_NEW
from envkit.rollout.openai.refusal import Circumstances, Refused, blame
from envkit.rollout.policy import Casting, PolicyFailed, PolicyStopped, policy_source
from envkit.toolbox import Toolbox

PNG = Image(b"\x89PNG")
PNG_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}
SOON = {"retry_after": "0.01"}


def shell_run(command: str) -> str:
    """Run a command."""
    return f"ran {command}"


def noop() -> str:
    """Do nothing."""
    return "nothing"


TOOLS = (tool_of(shell_run), tool_of(noop))


def casting(seed: int = 0, tools=TOOLS) -> Casting:
    return Casting(cast(Any, None), cast(Any, None), tools, Random(seed), "agent")


def user(text: str) -> Observation:
    return Observation((Message("user", text),))


def result(call_id: str, content: Any) -> Message:
    return Message("tool", content, call_id=call_id)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def serve(chat) -> AsyncIterator[Callable[..., Any]]:
    """Opens a server with a script and a policy that talks to it; closes both."""
    async with AsyncExitStack() as stack:

        async def opened(
            script, *, tools=TOOLS, **options: Any
        ) -> tuple[Any, ChatPolicy, OpenAIChat]:
            server = stack.enter_context(chat.ChatServer(script))
            source = OpenAIChat("openai:m", "m", base_url=server.url, **{"retries": 2, **options})
            stack.push_async_callback(source.aclose)
            return server, cast(ChatPolicy, await source.open(casting(tools=tools))), source

        yield opened


# ---- what is sent ----


async def test_a_conversation_is_sent_in_full_and_in_order(chat, serve):
    first = chat.asks("shell_run", {"command": "ls"}, "call-a")
    server, policy, _ = await serve([chat.says("Let me look.", [first]), chat.says("It is blue.")])
    action = await policy(Observation((Message("system", "Be brief."), Message("user", "Colour?"))))
    assert action == Action("Let me look.", (ToolCall("shell_run", {"command": "ls"}, "call-a"),))
    assert await policy(Observation((result("call-a", "blue.txt"),))) == Action("It is blue.")
    asked, then = server.requests
    assert asked["model"] == "m"
    assert asked["tools"] == [tool.schema() for tool in TOOLS]
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Colour?"},
    ]
    assert then["messages"] == [
        *asked["messages"],
        {"role": "assistant", "content": "Let me look.", "tool_calls": [first]},
        {"role": "tool", "tool_call_id": "call-a", "content": "blue.txt"},
    ]
    assert set(asked) == {"model", "messages", "tools"}  # what is not set is left to the server


async def test_results_of_parallel_calls_follow_the_order_of_the_calls(chat, serve):
    calls = [chat.asks("shell_run", {"command": c}, f"call-{c}") for c in "abc"]
    server, policy, _ = await serve([chat.says(None, calls), chat.says("done")])
    action = await policy(user("go"))
    assert [asked.id for asked in action.calls] == ["call-a", "call-b", "call-c"]
    await policy(
        Observation((result("call-c", "C"), Message("user", "hurry"), result("call-a", "A")))
    )
    assert server.requests[1]["messages"][1:] == [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call-a", "content": "A"},
        {"role": "tool", "tool_call_id": "call-b", "content": NO_RESULT},
        {"role": "tool", "tool_call_id": "call-c", "content": "C"},
        {"role": "user", "content": "hurry"},
    ]


async def test_images_of_users_stay_and_those_of_tools_follow_the_results(chat, serve):
    calls = [chat.asks("shell_run", {"command": c}, f"call-{c}") for c in "ab"]
    server, policy, _ = await serve([chat.says(None, calls), chat.says("done")])
    await policy(Observation((Message("user", ("What is it?", PNG)),)))
    await policy(Observation((result("call-a", ("shot", PNG)), result("call-b", "B"))))
    messages = server.requests[1]["messages"]
    text = {"type": "text", "text": "What is it?"}
    assert messages[0] == {"role": "user", "content": [text, PNG_PART]}
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "call-a", "content": "shot"},
        {"role": "tool", "tool_call_id": "call-b", "content": "B"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Images of tool call call-a:"}, PNG_PART],
        },
    ]


async def test_a_fresh_observation_begins_a_new_context(chat, serve):
    server, policy, _ = await serve(
        [chat.says(None, [chat.asks("noop", {}, "call-a")]), chat.says("two"), chat.says("three")]
    )
    await policy(user("session 1"))
    await policy(Observation((result("call-a", "saved"), Message("user", "session 2")), fresh=True))
    await policy(user("go on"))
    assert server.requests[1]["messages"] == [  # a result without its call would be refused
        {"role": "user", "content": "saved"},
        {"role": "user", "content": "session 2"},
    ]
    assert server.requests[2]["messages"] == [
        *server.requests[1]["messages"],
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "go on"},
    ]


async def test_a_context_never_ends_with_the_models_own_turn(chat, serve):
    server, policy, _ = await serve([chat.says("one"), chat.says("two")])
    await policy(Observation())
    await policy(Observation())
    said = {"role": "assistant", "content": "one"}
    nothing = {"role": "user", "content": NOTHING_NEW}
    assert server.requests[1]["messages"] == [nothing, said, nothing]


async def test_a_history_in_the_prompt_is_well_formed(chat, serve):
    server, policy, _ = await serve([chat.says("ok")])
    shown = Message("assistant", "", (ToolCall("noop", {}, "x1"),))
    await policy(
        Observation((Message("user", "q"), shown, result("x1", "r"), Message("user", "now")))
    )
    roles = [message["role"] for message in server.requests[0]["messages"]]
    assert roles == ["user", "assistant", "tool", "user"]
    assert server.requests[0]["messages"][2]["tool_call_id"] == "x1"


async def test_sampling_is_sent_and_described_without_the_key(chat, serve):
    options = {"temperature": 0.5, "max_tokens": 64, "seed": 7, "api_key": "sk-secret-key"}
    server, policy, source = await serve([chat.says("ok")] * 3, prices=(1.0, 2.0), **options)
    again = await source.open(casting(seed=0))
    other = await source.open(casting(seed=1))
    for one in (policy, again, other):
        await one(user("hi"))
    seeds = [request["seed"] for request in server.requests]
    assert seeds[0] == seeds[1] != seeds[2]  # an episode repeats itself, repeats of a task differ
    assert (server.requests[0]["temperature"], server.requests[0]["max_tokens"]) == (0.5, 64)
    assert server.headers[0]["authorization"] == "Bearer sk-secret-key"
    assert source.describe() == {
        "name": "openai:m", "model": "m", "base_url": server.url,
        "temperature": 0.5, "max_tokens": 64, "seed": 7, "prices": [1.0, 2.0],
    }  # fmt: skip
    assert "secret" not in repr(source.settings)


async def test_no_tools_means_no_tools_field(chat, serve):
    server, policy, _ = await serve([chat.says("ok")], tools=())
    await policy(user("hi"))
    assert "tools" not in server.requests[0]


def test_only_openai_itself_is_told_max_completion_tokens():
    assert OpenAIChat("openai:m", "m", api_key="k").settings.limit_name == "max_completion_tokens"
    local = OpenAIChat("openai:m", "m", base_url="http://localhost:1/v1")
    assert local.settings.limit_name == "max_tokens"


# ---- what comes back ----


async def test_malformed_arguments_stay_a_string_and_are_echoed_exactly(chat, serve):
    wrong = ('{"command": "ls"', "[1]", '{"a": 1, "a": 2}', "null", '{"a": NaN}', "rm -rf")
    calls = [chat.asks("shell_run", text, f"call-{n}") for n, text in enumerate(wrong)]
    server, policy, _ = await serve([chat.says(None, calls, finish="length"), chat.says("done")])
    action = await policy(user("go"))
    assert tuple(asked.arguments for asked in action.calls) == wrong
    for asked in action.calls:
        with pytest.raises(BadArguments, match="shell_run"):
            TOOLS[0].check(asked.arguments)
    await policy(Observation(tuple(result(asked.id, "no") for asked in action.calls)))
    assert server.requests[1]["messages"][1]["tool_calls"] == calls


@pytest.mark.parametrize("arguments", ["", " ", None, {}, "{}"])
async def test_a_call_without_arguments_is_one_in_every_dialect(chat, serve, arguments):
    call = {
        "id": "call-1",
        "type": "function",
        "function": {"name": "noop", "arguments": arguments},
    }
    server, policy, _ = await serve([chat.says(None, [call]), chat.says("done")])
    assert (await policy(user("go"))).calls == (ToolCall("noop", {}, "call-1"),)
    await policy(Observation((result("call-1", "nothing"),)))
    assert (
        json.loads(server.requests[1]["messages"][1]["tool_calls"][0]["function"]["arguments"])
        == {}
    )


async def test_an_unknown_tool_is_for_the_world_to_refuse(chat, serve):
    _, policy, _ = await serve([chat.says(None, [chat.asks("rm", {"x": 1})])])
    (asked,) = (await policy(user("go"))).calls
    assert asked == ToolCall("rm", {"x": 1}, "call-1")
    refused = await Toolbox().call(asked, 1000)
    assert refused.error


async def test_missing_and_repeated_ids_get_ids_of_our_own(chat, serve):
    turn = [chat.asks("noop", {}, i) for i in ("same", "same", None, "", "x" * 500)]
    server, policy, _ = await serve(
        [chat.says(None, turn), chat.says(None, turn), chat.says("end")]
    )
    ids = []
    observation = user("go")
    for _ in range(2):
        action = await policy(observation)
        ids += [asked.id for asked in action.calls]
        observation = Observation(tuple(result(asked.id, asked.id) for asked in action.calls))
    await policy(observation)
    assert len(set(ids)) == 10
    assert ids[0] == "same"
    assert all(len(i) == 9 and i.isalnum() for i in ids[1:])  # what the strictest servers take
    messages = server.requests[2]["messages"]
    echoed = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    tied = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert echoed == tied == ids


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_reasoning_is_thinking_and_is_not_echoed(chat, serve, field):
    server, policy, _ = await serve([chat.says("4", **{field: "2+2"}), chat.says("ok")])
    assert await policy(user("sum")) == Action("4", thinking="2+2")
    await policy(user("sure?"))
    assert server.requests[1]["messages"][1] == {"role": "assistant", "content": "4"}


async def test_text_in_parts_and_a_refusal_are_text(chat, serve):
    parts = [{"type": "text", "text": "a"}, {"type": "thinking"}, {"type": "text", "text": "b"}, 3]
    _, policy, _ = await serve([chat.says(cast(Any, parts)), chat.says(None, refusal="I won't.")])
    assert (await policy(user("1"))).text == "ab"
    assert (await policy(user("2"))).text == "I won't."


async def test_lone_surrogates_are_gone_before_anyone_sees_them(chat, serve):
    body = json.dumps(chat.says("x\ud800", [chat.asks("a\udfff", {"c": "\ud800"}, "i\ud800")]).body)
    assert "\\ud800" in body
    server, policy, _ = await serve([chat.Reply(body.encode()), chat.says("ok")])
    action = await policy(user("bad \ud800 prompt"))
    repr(action).encode()
    assert action.text == "x?"
    (asked,) = action.calls
    assert isinstance(asked.arguments, str)  # the escape is no text, so the arguments are no object
    await policy(Observation((result(asked.id, "also \udc80 bad"),)))
    assert server.requests[1]["messages"][2] == {
        "role": "tool", "tool_call_id": asked.id, "content": "also ? bad",
    }  # fmt: skip


async def test_usage_and_cost_add_up_and_may_be_missing(chat, serve):
    odd = chat.says("x")
    odd.body["usage"] = {"prompt_tokens": -5, "completion_tokens": "many"}
    replies = [chat.says("x", usage=(1000, 10)), chat.says("x", usage=None), odd, chat.says("x")]
    _, policy, _ = await serve(replies, prices=(2.0, 100.0))
    for _ in replies:
        await policy(user("hi"))
    assert (policy.usage.prompt_tokens, policy.usage.completion_tokens) == (1100, 20)
    assert policy.usage.cost == pytest.approx((1100 * 2 + 20 * 100) / 1e6)


# ---- bounds ----


async def test_a_huge_turn_is_cut_with_a_note(chat, serve):
    calls = [chat.asks("noop", {"x": "y" * 2_000_000}), *[chat.asks("noop", {})] * 299]
    server, policy, _ = await serve([chat.says("z" * 1_000_000, calls), chat.says("ok")])
    action = await policy(user("go"))
    assert len(action.text) < 1_000_100
    assert "44 tool calls left out" in action.text
    assert len(action.calls) == answer.MAX_CALLS
    assert isinstance(action.calls[0].arguments, str)
    assert action.calls[0].arguments.endswith("characters left out ...]")
    await policy(Observation(tuple(result(asked.id, "") for asked in action.calls)))
    assert len(json.dumps(server.requests[1])) < answer.MAX_CHARS + 100_000


async def test_an_endless_body_is_not_read_to_its_end(chat, serve, monkeypatch):
    monkeypatch.setattr(client, "MAX_BYTES", 1 << 20)
    for status in (200, 400):  # an error's body is no exception
        _, policy, _ = await serve([chat.Reply(b" " * 65536, status, endless=True)] * 9)
        with pytest.raises(PolicyFailed, match="longer than 1048576 bytes"):
            await policy(user("go"))


async def test_a_trickle_has_an_end(chat, serve):
    _, policy, _ = await serve([chat.Reply(b" ", endless=True, pause=0.05)], timeout=1.0)
    with pytest.raises(PolicyFailed, match=r"over 2 seconds"):
        await asyncio.wait_for(policy(user("go")), 30)


async def test_a_compressed_body_is_bounded_by_what_it_unpacks_to(chat, serve):
    fine, bomb = (
        gzip.compress(chat.says("ok").content()),
        gzip.compress(b" " * (client.MAX_BYTES + 1)),
    )
    assert len(bomb) < 100_000
    packed = {"content-encoding": "gzip"}
    _, policy, _ = await serve([chat.Reply(fine, headers=packed), chat.Reply(bomb, headers=packed)])
    assert (await policy(user("go"))).text == "ok"
    with pytest.raises(PolicyStopped, match="longer than"):
        await policy(user("go"))


async def test_a_model_can_not_dodge_an_episode_by_an_answer_without_end(chat, serve, monkeypatch):
    """What is endless once others had an end is the model's; an error's body never is."""
    monkeypatch.setattr(client, "MAX_BYTES", 1 << 20)
    endless = chat.Reply(b" " * 65536, endless=True)
    trickle = chat.Reply(b" ", endless=True, pause=0.05)
    for reply, words in ((endless, "longer than 1048576 bytes"), (trickle, "over 2 seconds")):
        _, policy, _ = await serve([chat.says("ok"), reply], timeout=1.0)
        await policy(user("hi"))
        with pytest.raises(PolicyStopped, match=words):
            await asyncio.wait_for(policy(user("hi")), 30)
    _, policy, _ = await serve(
        [chat.says("ok"), *[chat.Reply(b" " * 65536, 500, endless=True)] * 3]
    )
    await policy(user("hi"))
    with pytest.raises(PolicyFailed, match="longer than"):
        await policy(user("hi"))


def parsed(arguments: str) -> bytes:
    """The body of a server that sends arguments as the object that it made of them."""
    function = f'{{"name": "noop", "arguments": {arguments}}}'
    return (
        f'{{"choices": [{{"message": {{"tool_calls": [{{"function": {function}}}]}}}}]}}'.encode()
    )


@pytest.mark.parametrize("inside", ["1" * 401, "1" * 5000, "[" * 100 + "]" * 100, "1e999", "NaN"])
def test_parsed_arguments_that_are_no_json_are_told_as_text(inside):
    """As they are where a server leaves them alone: the tool refuses them, and the episode goes on."""
    read = read_answer(parsed(f'{{"n": {inside}}}'), CallIds())
    (asked,) = read.action.calls
    assert isinstance(asked.arguments, str)
    assert read.strange


def test_nesting_that_nobody_can_read_stops_the_episode():
    with pytest.raises(PolicyStopped, match="nested"):
        read_answer(parsed("[" * 3000 + "]" * 3000), CallIds())
    whole = read_answer(parsed('{"n": [1, {"a": "é"}]}'), CallIds())
    assert whole.action.calls[0].arguments == {"n": [1, {"a": "é"}]}


# ---- errors: infrastructure ----


async def test_rate_limits_and_server_errors_are_retried(chat, serve):
    server, policy, _ = await serve(
        [chat.fails(429, "slow down", **SOON), chat.fails(500, "oops", **SOON), chat.says("ok")]
    )
    assert (await policy(user("hi"))).text == "ok"
    assert [request["messages"] for request in server.requests] == [
        [{"role": "user", "content": "hi"}]
    ] * 3


async def test_a_retry_waits_as_long_as_the_server_says(chat, serve):
    _, policy, _ = await serve([chat.fails(429, "wait", retry_after="1"), chat.says("ok")])
    started = asyncio.get_running_loop().time()
    await policy(user("hi"))
    assert asyncio.get_running_loop().time() - started >= 1


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_does_not_pass_is_infrastructure(chat, serve, status):
    server, policy, _ = await serve(lambda request: chat.fails(status, "no luck", **SOON))
    with pytest.raises(PolicyFailed, match=f"HTTP {status} from http.*no luck"):
        await policy(user("hi"))
    assert len(server.requests) == 3  # one and two retries


async def test_a_connection_closed_mid_body_is_retried(chat, serve):
    half = chat.Reply(b'{"choices": [{"mess', broken=True)
    server, policy, _ = await serve([half, chat.says("ok")])
    assert (await policy(user("hi"))).text == "ok"
    assert len(server.requests) == 2


async def test_a_connection_that_always_closes_is_infrastructure(chat, serve):
    _, policy, _ = await serve(lambda request: chat.Reply(b"{", broken=True), retries=0)
    with pytest.raises(PolicyFailed, match="no answer from http"):
        await policy(user("hi"))


async def test_silence_is_retried_and_then_infrastructure(chat, serve):
    slow = chat.Reply(b"{}", wait=30)
    _, policy, _ = await serve([slow, chat.says("ok")], timeout=1.0, retries=1)
    assert (await policy(user("hi"))).text == "ok"
    _, policy, _ = await serve([slow], timeout=1.0, retries=0)
    with pytest.raises(PolicyFailed, match="timed out"):
        await policy(user("hi"))


async def test_nobody_there_is_infrastructure_and_is_said_while_it_is_tried_again(chat, caplog):
    with chat.ChatServer([]) as server:
        url = server.url
    source = OpenAIChat("openai:m", "m", base_url=url, retries=1)
    policy = await source.open(casting())
    with pytest.raises(PolicyFailed, match="no answer from"):
        await policy(user("hi"))
    await source.aclose()
    (warning,) = [record for record in caplog.records if record.name == "envkit.openai"]
    assert "no answer from http://127.0.0.1:" in warning.message
    assert warning.message.endswith("; trying again")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        [],
        b"<html>",
        b"",
        3,
        None,
    ],
)
async def test_an_answer_without_a_message_is_infrastructure(chat, serve, body):
    _, policy, _ = await serve([chat.Reply(body)])
    with pytest.raises(PolicyFailed):
        await policy(user("hi"))


async def test_an_error_with_status_200_is_an_error(chat, serve):
    too_long = {"error": {"code": 400, "message": "maximum context length is 4096 tokens"}}
    down = {"error": {"message": "upstream is down"}}
    _, policy, _ = await serve([chat.Reply(too_long), chat.Reply(down)])
    with pytest.raises(PolicyStopped):
        await policy(user("hi"))
    with pytest.raises(PolicyFailed, match="upstream is down"):
        await policy(user("hi"))


# ---- errors: the conversation's own doing ----


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (400, "too much", "context_length_exceeded"),
        (400, "This model's maximum context length is 4096 tokens. However, you requested 9", None),
        (400, "the request exceeds the available context size, try increasing it", None),
        (400, "prompt is too long: 9 tokens > 8 maximum", None),
        (400, "The input (9 tokens) is longer than the model's context length (8 tokens).", None),
        (413, "Please reduce the length of the messages", None),
        (429, "Request too large for m on tokens per min (TPM): Limit 8, Requested 9", None),
        (403, "Your input was flagged", None),
    ],
)
async def test_a_full_context_stops_the_episode(chat, serve, status, message, code):
    server, policy, _ = await serve(lambda request: chat.fails(status, message, code, **SOON))
    with pytest.raises(PolicyStopped, match="openai:m: HTTP"):
        await policy(user("hi"))
    assert len(server.requests) == (3 if status == 429 else 1)


def under(**more: Any) -> Circumstances:
    facts = {"model": "m", "place": "p", "spoken": False, "strange": False, "served": False}
    return Circumstances(**cast(Any, {**facts, **more}))


@pytest.mark.parametrize(
    ("status", "said", "where", "kind"),
    [
        (400, "bad request", under(), UsageError),  # the first request of all: a wrong setting
        (400, "bad request", under(served=True), PolicyFailed),  # this task's prompt
        (400, "bad tool call", under(served=True, spoken=True), PolicyStopped),  # the model's turn
        (422, "bad tool call", under(served=True, spoken=True), PolicyStopped),
        (500, "json error", under(served=True, spoken=True, strange=True), PolicyStopped),
        (500, "json error", under(served=True, spoken=True), PolicyFailed),
        (503, "away", under(served=True, spoken=True, strange=True), PolicyFailed),
        (401, "bad key", under(served=True, spoken=True), UsageError),
        (404, "no model", under(served=True, spoken=True), UsageError),
        (402, "pay", under(), UsageError),
        (429, "insufficient_quota: check your billing", under(served=True), UsageError),
        (429, "slow down", under(), PolicyFailed),
        (409, "locked", under(), PolicyFailed),
    ],
)
def test_whose_fault_it_is(status, said, where, kind):
    assert type(blame(Refused(status, said), where)) is kind


async def test_a_model_can_not_dodge_an_episode_by_calls_that_choke_its_server(chat, serve):
    broken = chat.says(None, [chat.asks("noop", "{")])
    for status in (400, 500):
        replies = [broken, *[chat.fails(status, "Expecting value", **SOON)] * 3]
        _, policy, _ = await serve(replies)
        await policy(user("hi"))
        with pytest.raises(PolicyStopped):
            await policy(Observation((result("call-1", "no"),)))


# ---- errors: the user's ----


async def test_wrong_key_and_wrong_model_are_one_clear_line(chat, serve):
    said = "Incorrect API key provided: sk-secret-key.\nSee\x1b[31m https://x"
    server, policy, _ = await serve(
        [
            chat.fails(401, said),
            chat.fails(404, "gone"),
            chat.Reply(b"", 307, {"location": "http://x/v1"}),
        ],
        api_key="sk-secret-key",
    )
    lines = []
    for _ in range(3):
        with pytest.raises(UsageError) as caught:
            await policy(user("hi"))
        lines.append(str(caught.value))
    assert len(server.requests) == 3
    assert all(line.isprintable() and f"from {server.url}" in line for line in lines)
    assert "OPENAI_API_KEY" in lines[0]
    assert "secret" not in lines[0]
    assert "no model 'm' there" in lines[1]
    assert "http://x/v1" in lines[2]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "OPENAI_API_KEY"),
        ({"base_url": "localhost:8000"}, "base_url"),
        ({"base_url": "http://["}, "base_url"),
        ({"base_url": "http://u:secret@h/v1"}, "base_url"),
        ({"api_key": "se cret\n"}, "api_key"),
        ({"api_key": "secrét"}, "api_key"),
        ({"api_key": "k", "temperature": -1}, "temperature"),
        ({"api_key": "k", "prices": (1.0, float("nan"))}, "prices"),
        ({"api_key": "k", "retries": -1}, "retries"),
        ({"api_key": "k", "timeout": 0}, "timeout"),
        ({"api_key": "k", "colour": 1}, "colour"),
    ],
)
def test_wrong_settings_are_one_clear_line(options, named):
    with pytest.raises(UsageError, match=f"openai:m: .*{named}") as caught:
        policy_source("openai:m", **options)
    assert "\n" not in str(caught.value)
    assert "secr" not in str(caught.value)


def test_the_environment_speaks_where_options_are_silent(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1?key=secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1 ")
    source = cast(OpenAIChat, policy_source("openai:org/model:tag"))
    assert (source.model, source.settings.key) == ("org/model:tag", "sk-1")
    assert source.describe()["base_url"] == "http://localhost:1/v1"
    assert OpenAIChat("openai:m", "m", base_url="http://h/v1", api_key="k").settings.host == "h"


async def test_a_missing_client_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "envkit.rollout.openai.client")
    monkeypatch.delattr("envkit.rollout.openai.client")
    monkeypatch.setitem(sys.modules, "openai", None)
    source = OpenAIChat("openai:m", "m", api_key="k")
    with pytest.raises(MissingError, match=r"pip install 'envkit\[openai\]'"):
        await source.open(casting())


# ---- many at once, and cancellation ----


async def test_episodes_share_connections_and_nothing_else(chat, serve):
    def reply(request):
        text = request["messages"][0]["content"]
        return chat.Reply(chat.says(f"{text}:{len(request['messages'])}").body, wait=0.01)

    server, _, source = await serve(reply)
    policies = [await source.open(casting(n)) for n in range(16)]
    for turn in range(3):
        actions = await asyncio.gather(*(one(user(f"e{n}")) for n, one in enumerate(policies)))
        assert [action.text for action in actions] == [f"e{n}:{2 * turn + 1}" for n in range(16)]
    assert len(server.connections) <= 16  # kept alive between turns


async def test_a_cancelled_turn_leaves_no_trace(chat, serve):
    server, policy, _ = await serve([chat.Reply(b"{}", wait=30), chat.says("ok")])
    turn = asyncio.create_task(policy(user("hi")))
    assert await asyncio.to_thread(server.arrived.wait, 30)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert (await policy(user("hi"))).text == "ok"
    assert server.requests[1]["messages"] == [{"role": "user", "content": "hi"}]


async def test_a_source_closes_twice_and_opens_again(chat, serve):
    _, policy, source = await serve([chat.says("one"), chat.says("two")])
    await policy(user("hi"))
    await source.aclose()
    await source.aclose()
    assert (await (await source.open(casting())).__call__(user("hi"))).text == "two"


# ---- whatever an endpoint sends ----

texts = st.text(st.characters(exclude_categories=()), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def sometimes(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object with some of the fields, each as it should be or as anything else."""
    likely = {name: st.one_of(field, field, field, values) for name, field in fields.items()}
    return st.one_of(*[st.fixed_dictionaries({}, optional=likely)] * 4, values)


functions = sometimes(name=texts, arguments=texts | st.just('{"a": 1}'))
tool_calls = st.lists(
    sometimes(id=texts | st.just("same"), type=texts, function=functions), max_size=4
)
messages = sometimes(
    role=texts, content=texts | st.none(), tool_calls=tool_calls, refusal=texts, reasoning=texts
)
completions = sometimes(
    choices=st.lists(sometimes(message=messages, finish_reason=texts), min_size=1, max_size=2),
    usage=sometimes(prompt_tokens=st.integers(), completion_tokens=st.integers()),
    error=sometimes(code=st.integers(), message=texts),
)


def check(action: Action) -> None:
    assert type(action.text) is type(action.thinking) is str
    for asked in action.calls:
        assert type(asked.name) is type(asked.id) is str
        assert asked.id
        assert isinstance(asked.arguments, str | dict)
    assert len({asked.id for asked in action.calls}) == len(action.calls)
    repr(action).encode()
    json.dumps(
        [asked.arguments for asked in action.calls], allow_nan=False, ensure_ascii=False
    ).encode()


@settings(max_examples=500, deadline=None)
@given(st.builds(json.dumps, completions).map(str.encode) | st.binary(max_size=50))
@example(b"[" * 100_000)
@example(b'{"choices": [{"message": {"content": ' + b"[" * 500 + b"]" * 500 + b"}}]}")
@example(b"1" * 5000)
def test_any_body_is_an_action_or_a_refusal(body):
    try:
        read = read_answer(body, CallIds())
    except Refused as refused:
        str(blame(refused, under())).encode()
    except (PolicyFailed, PolicyStopped):
        pass
    else:
        check(read.action)
        assert scrub(read.echo) == read.echo
        assert min(read.prompt_tokens, read.completion_tokens) >= 0


def test_any_response_over_the_wire_is_an_action_or_a_refusal(chat):
    """The same through the official client, errors' bodies and echoes included."""
    replies: list[Any] = []

    async def talk(body: bytes, status: int) -> None:
        source = OpenAIChat("openai:m", "m", base_url=server.url, retries=0)
        policy = await source.open(casting())
        replies.append(chat.Reply(body, status))
        try:
            action = await policy(user("hi"))
            check(action)
            replies.append(chat.Reply(body, status))
            check(await policy(Observation(tuple(result(asked.id, "") for asked in action.calls))))
        except (PolicyFailed, PolicyStopped, UsageError) as error:
            str(error).encode()
        finally:
            await source.aclose()

    errors = sometimes(error=sometimes(message=texts, code=values, type=values, param=values))
    bodies = st.one_of(completions, completions, errors).map(json.dumps).map(str.encode)
    statuses = st.sampled_from((200, 200, 200, 302, 400, 401, 404, 418, 429, 500, 599))

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bodies, statuses)
    def run(body: bytes, status: int) -> None:
        asyncio.run(talk(body, status))

    with chat.ChatServer(lambda request: replies.pop()) as server:
        run()
