"""Whatever a supervisor says, the host's end answers with data or SandboxLost, and never hangs."""

from __future__ import annotations

import asyncio
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envkit.adapters.terminal.channel import Channel
from envkit.adapters.terminal.machine import Machine
from envkit.adapters.terminal.sandbox import FileProblem, FreezeCaps
from envkit.errors import SandboxLost


class Wire(asyncio.Transport):
    """Records what is written; `aborted` once the channel gave up."""

    def __init__(self):
        super().__init__()
        self.sent = bytearray()
        self.aborted = False

    def write(self, data):
        self.sent += data

    def abort(self):
        self.aborted = True


def frame(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack(">II", len(text), len(body)) + text + body


def connect(*, multiplexed=False):
    channel, wire = Channel(multiplexed=multiplexed), Wire()
    channel.connection_made(wire)
    return channel, wire


async def asking(channel, most=10):
    task = asyncio.create_task(channel.ask("read", {}, most=most, seconds=5))
    await asyncio.sleep(0)
    return task


async def test_an_answer_in_any_pieces():
    channel, _ = connect(multiplexed=True)
    task = await asking(channel)
    data = frame({"id": 1}, b"body")
    for byte in data:
        channel.data_received(b"\1\0\0\0\0\0\0\1" + bytes([byte]))
    assert await task == ({"id": 1}, b"body")


@pytest.mark.parametrize(
    "said",
    [
        frame({"id": 2}),
        frame({"id": True}),
        frame({"id": "1"}),
        frame({"id": 1}, b"longer than asked"),
        frame({"id": 1}) + frame({"id": 1}),
        frame([1]),
        frame(b"no json"),
        frame(b"[" * 100_000),
        frame(b"\xff"),
        frame({"hello": {}}),
        struct.pack(">II", 1 << 30, 0),
        struct.pack(">II", 0, 1 << 30),
    ],
)
async def test_a_broken_rule_ends_the_channel(said):
    channel, wire = connect()
    task = await asking(channel)
    channel.data_received(said)
    assert wire.aborted
    if not task.done():
        await asyncio.sleep(0)
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(SandboxLost):
        await channel.ask("read", {}, most=1, seconds=1)


async def test_an_answer_to_one_as_long_as_another_may_be_fails_both():
    channel, wire = connect()
    small, large = await asking(channel), await asking(channel, most=100)
    channel.data_received(frame({"id": 1}, b"longer than asked"))
    assert wire.aborted
    for task in (small, large):
        with pytest.raises(SandboxLost):
            await asyncio.wait_for(task, 1)


async def test_silence_ends_the_channel():
    channel, wire = connect()
    with pytest.raises(SandboxLost, match=r"no answer to 'read' in 0\.01 s"):
        await channel.ask("read", {}, most=1, seconds=0.01)
    assert wire.aborted
    channel, _ = connect()
    with pytest.raises(SandboxLost):
        await channel.hello(0.01)


async def test_the_last_line_on_stderr_is_quoted():
    channel, _ = connect(multiplexed=True)
    task = await asking(channel)
    channel.data_received(b"\2\0\0\0\0\0\0\5" + b"why?\n")
    channel.connection_lost(None)
    with pytest.raises(SandboxLost, match=r"why\?"):
        await task


async def test_a_cancelled_question_is_cancelled_inside_and_its_late_answer_dropped():
    channel, wire = connect()
    task = await asking(channel)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert b'"do": "cancel", "which": 1' in wire.sent
    channel.data_received(frame({"id": 1}, b"late") + frame({"id": 2}))
    assert channel.lost is None


async def test_answers_under_way_do_not_disturb_a_reset():
    channel, _ = connect()
    task = await asking(channel)
    reset = asyncio.create_task(channel.reset(5))
    await asyncio.sleep(0)
    channel.data_received(frame({"id": 1}) + frame({"hello": {"proof": 1}}))
    assert await reset == {"proof": 1}
    with pytest.raises(SandboxLost):
        await task


async def test_a_call_of_the_last_lease_does_not_end_the_channel_of_the_next():
    channel, _ = connect()
    machine = Machine(channel, "docker")
    late = asyncio.create_task(machine.shell("sleep 60", timeout=60))
    await asyncio.sleep(0)
    machine.end()
    reset = asyncio.create_task(channel.reset(5))
    with pytest.raises(SandboxLost):
        await late
    channel.data_received(frame({"hello": {"proof": 1}}))
    assert await reset == {"proof": 1}
    assert channel.lost is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans())
def test_garbage_never_hangs_and_never_escapes(pieces, multiplexed):
    async def go():
        channel, _ = connect(multiplexed=multiplexed)
        task = asyncio.create_task(channel.ask("read", {}, most=10, seconds=0.01))
        await asyncio.sleep(0)
        for piece in pieces:
            channel.data_received(piece)
        with pytest.raises(SandboxLost):
            await task

    asyncio.run(go())


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
_names = "status late seconds split dropped running job found problem".split()


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(_names), _json), st.binary(max_size=8))
def test_answers_of_any_shape_are_data_or_loss(fields, body):
    async def go():
        for call in (
            lambda box: box.run(["x"], timeout=1),
            lambda box: box.shell("x", timeout=1),
            lambda box: box.start("x"),
            lambda box: box.poll(1),
            lambda box: box.freeze(["*"], FreezeCaps()),
            lambda box: box.listing(".", limit=5),
        ):
            channel, _ = connect()
            task = asyncio.create_task(call(Machine(channel, "docker")))
            for _ in range(5):
                await asyncio.sleep(0)
            channel.data_received(frame({**fields, "id": 1}, body))
            answer = (await asyncio.gather(task, return_exceptions=True))[0]
            assert not isinstance(answer, Exception) or isinstance(
                answer, (SandboxLost, FileProblem)
            )
            assert (channel.lost is not None) == isinstance(answer, SandboxLost)

    asyncio.run(go())
