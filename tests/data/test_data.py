"""Specs, scores, evidence, tools and probes: wrong values are hard to build, right ones survive the pipe."""

import contextlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from envkit.data.evidence import MAX_CALLS, CallRecord, Evidence, FrozenEvidence, FrozenItem, spoken
from envkit.data.message import Action, Image, Message, Observation, ToolCall, call, say
from envkit.data.probe import PROBES, Reply, SubjectCall
from envkit.data.score import Check, Invalid, Reason, Score, failed, passed
from envkit.data.spec import EnvSpec
from envkit.data.strict import Malformed, Oversize
from envkit.data.task import Blob, Limits, Task
from envkit.data.tool import BadArguments, ToolResult, tool_of
from envkit.errors import DeclarationError, SpecError

# ---- specs ----


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("desk/logdesk", "desk/logdesk"),
        ("desk/logdesk@3?level=hard&a=b", "desk/logdesk@3?a=b&level=hard"),
        ("file:some/where.py:Cls", "file:some/where.py:Cls"),
        ("file:x.py:C?k=a%20b", "file:x.py:C?k=a%20b"),
        ("file:/me@home/a b/x@2.py:C@3?k=a@4", "file:/me@home/a b/x@2.py:C@3?k=a%404"),
    ],
)
def test_specs_have_one_canonical_form(text, canonical):
    spec = EnvSpec.parse(text)
    assert str(spec) == canonical
    assert str(EnvSpec.parse(canonical)) == canonical


@pytest.mark.parametrize(
    "text", ["", "desk", "Desk/x", "desk/logdesk@x", "desk/", "/x", "a/b?k=1&k=2", "a b/c"]
)
def test_what_is_no_spec_says_how_to_write_one(text):
    with pytest.raises(SpecError):
        EnvSpec.parse(text)


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=4))
def test_settings_survive_the_canonical_form(config):
    try:
        str(EnvSpec("a/b", 1, config)).encode()
    except UnicodeEncodeError:
        return
    assert dict(EnvSpec.parse(str(EnvSpec("a/b", 1, config))).config) == config


# ---- scores ----


@pytest.mark.parametrize("reward", [math.nan, math.inf, -0.1, 1.1, True, "1", None])
def test_a_reward_is_a_number_from_0_to_1(reward):
    with pytest.raises((TypeError, ValueError)):
        Score(reward)
    with pytest.raises((TypeError, ValueError)):
        Check(reward)
    with pytest.raises((TypeError, ValueError)):
        Score(1.0, seats={"a": reward})


def test_nothing_checked_is_no_success():
    for make in (Score.all, Score.any, lambda: Score.weighted({})):
        with pytest.raises(ValueError, match="at least one"):
            make()


def test_what_is_no_check_is_refused():
    for wrong in (1, "yes", None, Malformed("x", "y")):
        with pytest.raises(TypeError):
            Score.all(right=wrong)


def test_combinators():
    assert Score.all(a=True, b=passed()).reward == 1.0
    assert Score.all(a=True, b=Check(0.999)).reward == 0.0
    assert Score.any(a=False, b=passed()).reward == 1.0
    assert Score.weighted({"a": 1, "b": 3}, a=False, b=True).reward == 0.75
    assert Score.weighted({"a": 0.1, "b": 0.2, "c": 0.7}, a=True, b=True, c=True).reward == 1.0
    assert Score.gate(failed("no"), Score(1.0)).reward == 0.0
    assert Score.gate(True, Score(0.5)).reward == 0.5
    assert Score.weighted({"a": 1e9, "b": 1e-300}, a=True, b=False).reward < 1.0
    for weights in (
        {"a": 1},
        {"a": 1e308, "b": 1e308},
        {"a": 1, "b": 0},
        {"a": 1, "b": math.nan},
        {"a": 1, "b": -1},
    ):
        with pytest.raises(ValueError, match="weights"):
            Score.weighted(weights, a=True, b=True)


def test_every_reason_names_who_is_to_blame():
    assert {reason.blame for reason in Reason} == {"infra", "env", "grader"}  # never the agent
    assert Invalid(Reason.GRADER_BROKEN).blame == "grader"


# ---- evidence ----


def evidence(**items: FrozenItem | bytes) -> Evidence:
    frozen = [
        item.model_copy(update={"name": name})
        if isinstance(item, FrozenItem)
        else FrozenItem(name=name, data=item)
        for name, item in items.items()
    ]
    return Evidence(FrozenEvidence(items=tuple(frozen)))


def test_accessors_give_a_value_or_a_reason():
    found = evidence(
        text=b"hi\n", binary=b"\xff\x00", js=b'{"a": [1, true]}', bad=b"{", csv=b"a,b\n1,2\n\n3,4\n",
        ragged=b"a,b\n1\n",
        double=b"a,a\n1,2\n", quote=b'a\n"x', big=FrozenItem(name="", kind="oversize", detail="8 TiB"),
        link=FrozenItem(name="", kind="refused", detail="a link"),
    )  # fmt: skip
    assert found.text("text") == "hi\n"
    assert found.json("js") == {"a": [1, True]}
    assert found.table("csv") == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    for broken in ("binary", "missing", "big", "link"):
        assert isinstance(found.text(broken), Malformed)
    assert isinstance(found.content("big"), Oversize)
    for broken in ("ragged", "double", "quote", "binary", "missing"):
        assert isinstance(found.table(broken), Malformed), broken
    for broken in ("bad", "binary", "missing"):
        assert isinstance(found.json(broken), Malformed), broken
    assert "big" not in found.names()
    assert found.files("te") == {"xt": b"hi\n"}


@given(st.binary(max_size=200))
def test_accessors_never_raise(data):
    found = evidence(x=data)
    for read in (found.text, found.json, found.table, found.content):
        read("x")


@given(st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=20))), st.text(max_size=10))
def test_frozen_evidence_survives_the_pipe(items, answer):
    try:
        frozen = FrozenEvidence(
            items=tuple(FrozenItem(name=name, data=data) for name, data in items), answer=answer,
            calls=(CallRecord(tool="t", arguments={"a": [1, None]}, result="r"),),
        )  # fmt: skip
    except ValidationError:
        return  # lone surrogates: scrubbed before they get here
    assert (
        FrozenEvidence.model_validate(json.loads(json.dumps(frozen.model_dump(mode="json"))))
        == frozen
    )


def test_hidden_draws_come_from_the_nonce():
    one, same, other = (Evidence(nonce=nonce).rng().random() for nonce in (b"1", b"1", b"2"))
    assert one == same != other


def test_a_seat_that_floods_the_log_of_calls_loses_its_own_calls_alone():
    fine, flood = {"price": 5}, {"message": "x" * MAX_CALLS}
    asked = [
        ("ann", fine),
        ("bob", fine),
        ("ann", flood),
        ("ann", fine),
        ("bob", fine),
        ("cyd", fine),
    ]
    made = [(seat, ToolCall("offer", arguments), ToolResult("ok")) for seat, arguments in asked]
    calls = spoken("", made).calls
    assert [call.seat for call in calls if call.arguments == fine] == ["ann", "bob", "bob", "cyd"]
    assert [call.arguments for call in calls if call.seat == "ann"] == [fine, {}, {}]
    assert len(calls) == len(made)


def test_what_one_seat_does_not_need_is_for_the_others():
    big = {"message": "x" * (MAX_CALLS - 10_000)}
    made = [
        (seat, ToolCall("offer", big if seat == "ann" else {}), ToolResult("ok"))
        for seat in ("ann", "bob")
    ]
    assert spoken("", made).calls[0].arguments == big


# ---- tasks, probes, messages ----


def test_tasks_are_frozen_and_refuse_unknown_fields():
    task = Task(prompt="x", gold={"a": 1})
    with pytest.raises(ValidationError):
        task.prompt = "y"
    with pytest.raises(ValidationError, match="extra"):
        Task(prompt="x", gold={}, hint="y")
    for wrong in ({"turns": 0}, {"seconds": -1}, {"steps": 3}):
        with pytest.raises(ValidationError):
            Limits(**wrong)


def test_bytes_in_a_world_survive_json_as_blobs():
    probe = SubjectCall(
        files={"a": b"\xff\x00", "b": "text"}, module="a", function="f", arguments=(1, "x")
    )
    back = PROBES["call"].model_validate(json.loads(probe.model_dump_json()))
    assert back == probe
    assert back.files["a"] == Blob(data=b"\xff\x00")
    assert len(Blob(data=b"x").sha256) == 64


def test_replies_hold_strict_values_only():
    assert Reply(ok=True, stdout="[1, 2]").value() == [1, 2]
    for reply in (
        Reply(ok=False, problem="timeout"),
        Reply(ok=True, stdout="NaN"),
        Reply(ok=True, stdout=""),
    ):
        assert isinstance(reply.value(), Malformed)


def test_messages_take_the_chat_completions_shape():
    assert call("t", a=1) == Action(calls=(ToolCall("t", {"a": 1}),))
    assert say("x") == Action("x")
    message = Message("tool", ("text", Image(b"png")), call_id="c1")
    chat = message.as_chat()
    assert chat["tool_call_id"] == "c1"
    assert chat["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert Observation((message, Message("tool", "two"))).text() == "text\ntwo"
    assert ToolCall("t", "{broken").as_chat()["function"]["arguments"] == "{broken"


# ---- tools ----


def test_a_tool_comes_from_its_hints_and_docstring():
    def search(query: str, most: int = 5, tags: list[str] | None = None) -> str:
        """Search the notes.

        Longer text that models read, too.

        Args:
            query: what to look for,
                over two lines
            most: at most this many
        """
        return ""

    made = tool_of(search, "notes_search")
    schema = made.schema()["function"]
    assert schema["name"] == "notes_search"
    assert schema["description"].startswith("Search the notes.")
    assert schema["parameters"]["required"] == ["query"]
    assert schema["parameters"]["additionalProperties"] is False
    assert (
        schema["parameters"]["properties"]["query"]["description"]
        == "what to look for, over two lines"
    )
    assert made.check({"query": "x"}) == {"query": "x", "most": 5, "tags": None}
    for wrong, names in [
        ({}, "query"),
        ({"query": 1, "most": "x"}, "most"),
        ({"query": "a", "z": 1}, "z"),
        ("{", "object"),
    ]:
        with pytest.raises(BadArguments, match=names):
            made.check(wrong)


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.floats(), lambda x: st.dictionaries(st.text(), x)
    )
)
def test_whatever_a_model_sends_is_checked_or_refused(arguments):
    def act(n: int, copy: str = "") -> str:
        """Act."""
        return ""

    if isinstance(arguments, dict | str):
        with contextlib.suppress(BadArguments):
            assert set(tool_of(act).check(arguments)) == {"n", "copy"}


def test_tools_without_hints_or_docstring_are_refused():
    def no_hint(n):
        """Act."""

    def no_docstring(n: int) -> str:
        return ""

    def variadic(*n: int) -> str:
        """Act."""
        return ""

    for wrong in (no_hint, no_docstring, variadic):
        with pytest.raises(DeclarationError):
            tool_of(wrong)
