"""Whatever a supervisor says about connections, the host keeps to its door, its cap and its credit."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envkit.adapters.terminal.channel import Channel
from envkit.adapters.terminal.link import MOST
from envkit.adapters.terminal.machine import Machine
from envkit.errors import SandboxLost


def frame(header, body=b""):
    text = json.dumps(header).encode()
    return struct.pack(">II", len(text), len(body)) + text + body


class Inside(asyncio.Transport):
    """A supervisor that does what a test says: the questions it was asked, by what they ask."""

    def __init__(self):
        super().__init__()
        self.channel = Channel(multiplexed=False)
        self.channel.connection_made(self)
        self.asked = []
        self.aborted = False

    def write(self, data):
        while data:
            head, body = struct.unpack_from(">II", data)
            end = 8 + head + body
            self.asked.append((json.loads(data[8 : 8 + head]), data[8 + head : end]))
            data = data[end:]

    def abort(self):
        self.aborted = True

    def open(self, do):
        return [(ask["id"], ask, body) for ask, body in self.asked if ask["do"] == do]

    def say(self, number, body=b"", **facts):
        self.asked = [one for one in self.asked if one[0]["id"] != number]
        self.channel.data_received(frame({"id": number, **facts}, body))

    async def wait(self, do):
        for _ in range(500):
            if self.open(do):
                return self.open(do)[0]
            await asyncio.sleep(0.002)
        raise AssertionError(f"{do} was not asked: {self.asked}")


class Far:
    """What stands at the door's port."""

    async def __aenter__(self):
        self.heard, self.writers = bytearray(), []
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def serve(self, reader, writer):
        self.writers.append(writer)
        while data := await reader.read(65_536):
            self.heard += data
        writer.close()

    async def __aexit__(self, *_):
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


async def equipped(far):
    inside = Inside()
    machine = Machine(inside.channel, "docker")
    task = asyncio.create_task(machine.equip({}, door=far.port))
    number, ask, _ = await inside.wait("equip")
    assert ask["port"] == 3128
    inside.say(number)
    await task
    return inside, machine


async def over(inside, machine):
    """As the pool ends a lease: nothing is asked any more, and what was asked fails."""
    machine.end()
    inside.channel.fail("it was removed")
    for _ in range(200):
        await asyncio.sleep(0.002)
        if not machine._link._tasks:
            return
    raise AssertionError(machine._link._tasks)


async def test_a_connection_is_carried_both_ways_and_ends():
    async with Far() as far:
        inside, machine = await equipped(far)
        inside.say((await inside.wait("accept"))[0], line=1)
        inside.say((await inside.wait("pull"))[0], b"hello")
        pull = await inside.wait("pull")
        for _ in range(100):
            await asyncio.sleep(0.002)
            if far.heard == b"hello":
                break
        far.writers[0].write(b"answer")
        number, ask, body = await inside.wait("push")
        assert (ask["line"], body) == (1, b"answer")
        inside.say(number)
        inside.say(pull[0])  # the program hangs up
        number, _, body = await inside.wait("push")
        assert body == b""
        inside.say(number)
        number, ask, _ = await inside.wait("hang_up")
        assert ask["line"] == 1
        inside.say(number)
        assert len(inside.open("accept")) == 1
        await over(inside, machine)


async def test_no_more_is_asked_than_the_cap_allows():
    async with Far() as far:
        inside, machine = await equipped(far)
        for line in range(1, MOST + 1):
            inside.say((await inside.wait("accept"))[0], line=line)
        await asyncio.sleep(0.05)
        assert inside.open("accept") == []
        assert len(inside.open("pull")) == MOST
        assert len(far.writers) == MOST
        inside.say(
            inside.open("accept")[0][0] if inside.open("accept") else inside.open("pull")[0][0]
        )
        inside.say((await inside.wait("push"))[0])  # the door hangs up, too
        inside.say((await inside.wait("hang_up"))[0])
        await inside.wait("accept")
        await over(inside, machine)


async def test_what_a_program_sends_waits_for_the_door():
    """Behind a door that does not read, a question is open only while there is room."""
    async with Far() as far:
        stuck = asyncio.Event()

        async def serve(reader, writer):
            far.writers.append(writer)
            await stuck.wait()

        far.serve = serve
        far.server.close()
        far.server = await asyncio.start_server(serve, "127.0.0.1", far.port, limit=4096)
        inside, machine = await equipped(far)
        inside.say((await inside.wait("accept"))[0], line=1)
        sent = 0
        for _ in range(400):
            await asyncio.sleep(0.001)
            if inside.open("pull"):
                inside.say(inside.open("pull")[0][0], b"x" * 32_768)
                sent += 32_768
        assert 65_536 <= sent < 10_000_000
        await over(inside, machine)
        stuck.set()


@pytest.mark.parametrize(
    ("question", "facts", "body"),
    [
        ("accept", {"line": 2}, b""),
        ("accept", {"line": "1"}, b""),
        ("accept", {}, b""),
        ("accept", {"line": 1}, b"x"),
        ("pull", {}, b"x" * 32_769),
        ("pull", {"line": 1, "id": 99}, b""),
        ("push", {}, b"x"),
    ],
)
async def test_a_broken_rule_ends_the_sandbox(question, facts, body):
    async with Far() as far:
        inside, machine = await equipped(far)
        if question != "accept":
            inside.say((await inside.wait("accept"))[0], line=1)
        if question == "push":
            for _ in range(200):
                await asyncio.sleep(0.002)
                if far.writers:
                    break
            far.writers[0].write(b"x")
        number = (await inside.wait(question))[0]
        inside.channel.data_received(frame({"id": number, **facts}, body))
        await asyncio.sleep(0.01)
        assert inside.aborted
        with pytest.raises(SandboxLost):
            await machine.shell("true", timeout=1)
        await over(inside, machine)


async def test_a_second_answer_ends_the_sandbox():
    async with Far() as far:
        inside, machine = await equipped(far)
        number = (await inside.wait("accept"))[0]
        inside.say(number, line=1)
        inside.say(number, line=2)
        assert inside.aborted
        await over(inside, machine)


async def test_connections_that_cannot_be_taken_are_tried_again():
    async with Far() as far:
        inside, machine = await equipped(far)
        inside.say((await inside.wait("accept"))[0], problem="no memory")
        assert inside.open("accept") == []
        inside.say((await inside.wait("accept"))[0], line=1)
        await inside.wait("pull")
        await over(inside, machine)


async def test_a_door_that_is_closed_ends_the_connection():
    async with Far() as far:
        inside, machine = await equipped(far)
        far.server.close()
        await far.server.wait_closed()
        inside.say((await inside.wait("accept"))[0], line=1)
        assert (await inside.wait("hang_up"))[1]["line"] == 1
        await over(inside, machine)


async def test_nothing_is_asked_of_the_next_lease():
    """The end of a lease, then its reset: no question comes after it, and no descriptor stays."""
    async with Far() as far:
        before = len(os.listdir("/proc/self/fd"))
        inside, machine = await equipped(far)
        for line in range(1, 11):
            inside.say((await inside.wait("accept"))[0], line=line)
        await inside.wait("pull")
        machine.end()
        reset = asyncio.create_task(inside.channel.reset(5))
        await inside.wait("reset")
        position = [ask["do"] for ask, _ in inside.asked].index("reset")
        inside.channel.data_received(frame({"hello": {}}))
        await reset
        await asyncio.sleep(0.05)
        assert inside.asked[position + 1 :] == []
        assert not machine._link._tasks
        assert len(os.listdir("/proc/self/fd")) <= before


async def test_a_call_that_is_cancelled_after_a_reset_says_nothing():
    inside = Inside()
    machine = Machine(inside.channel, "docker")
    call = asyncio.create_task(machine.shell("sleep 60", timeout=60))
    await inside.wait("shell")
    machine.end()
    reset = asyncio.create_task(inside.channel.reset(5))
    call.cancel()  # it learns of that after the reset has begun
    await asyncio.gather(call, return_exceptions=True)
    assert [ask["do"] for ask, _ in inside.asked][-1] == "reset"
    assert inside.open("cancel") == []
    inside.channel.data_received(frame({"hello": {}}))
    await reset
    assert inside.channel.lost is None


_INSIDE = """
import os, socket, sys
from envkit.adapters.terminal.inside.link import Link
from envkit.adapters.terminal.inside.loop import Loop
said = []
loop = Loop()
link = Link(loop, lambda facts, body: said.append((facts, body)))
link.open(0)
address = link._listener.getsockname()
ids = iter(range(1, 10**6))
def ask(do, line=0, body=b""):
    number = next(ids)
    link.do(number, {"do": do, "line": line, "limit": 10}, body)
    return number
def answer(number):
    while True:
        for one in said:
            if one[0]["id"] == number: return said.remove(one) or one
        loop.later(0.05, lambda: None); loop.turn()
before = len(os.listdir("/proc/self/fd"))
for kind in range(60):
    accepted = ask("accept")
    client = socket.create_connection(address)
    line = answer(accepted)[0]["line"]
    assert line == kind + 1
    pull = ask("pull", line)
    client.sendall(b"0123456789more")
    assert answer(pull) == ({"id": pull}, b"0123456789")
    assert answer(ask("pull", line))[1] == b"more"
    assert answer(ask("push", line, b"hello")) and client.recv(9) == b"hello"
    if kind % 3 == 0:
        client.close()
        assert answer(ask("pull", line))[1] == b""
    elif kind % 3 == 1:
        assert answer(ask("push", line)) and client.recv(9) == b""
    pull, push = ask("pull", line), ask("push", line, b"x" * 30_000_000)
    end = ask("hang_up", line)
    assert answer(end) == ({"id": end}, b"")
    assert answer(pull)[1] == b"" and "problem" in answer(push)[0]
    assert "problem" in answer(ask("pull", line))[0]
    client.close()
assert said == [], said
assert len(os.listdir("/proc/self/fd")) == before
ask("accept"); print("to here", flush=True); ask("accept"); print("not to here")
"""


def test_inside_every_question_is_answered_once_and_nothing_stays_open():
    argv = [sys.executable, "-c", _INSIDE]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "to here\n"), done.stderr
    assert done.stderr == "nobody listens, or somebody is waited for already\n"


_facts = st.dictionaries(
    st.sampled_from(["line", "problem", "id", "hello"]),
    st.none() | st.booleans() | st.integers(-1, 40) | st.text(max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), _facts, st.binary(max_size=9)), max_size=8))
def test_any_answers_are_carried_or_end_the_sandbox(answers):
    async def go():
        async with Far() as far:
            inside, machine = await equipped(far)
            for pick, facts, body in answers:
                await asyncio.sleep(0.001)
                asked = [ask["id"] for ask, _ in inside.asked]
                number = asked[pick % len(asked)] if asked else 1
                if inside.channel.lost is None:
                    inside.say(number, body, **{k: v for k, v in facts.items() if k != "id"})
            assert len(far.writers) <= MOST
            await over(inside, machine)

    asyncio.run(go())
