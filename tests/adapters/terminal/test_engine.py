"""An engine that goes is infrastructure; a container that goes alone is the agent's doing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import threading
from pathlib import Path

import docker
import pytest

from envkit.adapters.terminal import engine as engine_module
from envkit.adapters.terminal import owner
from envkit.adapters.terminal.docker import DockerBackend
from envkit.adapters.terminal.engine import Engine, ask
from envkit.adapters.terminal.machine import Machine
from envkit.adapters.terminal.pool import Pool
from envkit.adapters.terminal.sandbox import FreezeCaps, SandboxSpec
from envkit.adapters.terminal.session import TerminalSession
from envkit.data.message import Action, call
from envkit.data.score import Reason
from envkit.errors import EngineLost, MissingError, SandboxLost, SandboxUnavailable
from envkit.rollout import runner as runner_module
from envkit.rollout.policy import Local
from envkit.rollout.record import read_episodes
from envkit.rollout.runner import Runner, RunSettings

SOCKET = "/var/run/docker.sock"
SHELL = f"file:{Path(__file__).parent.parent.parent / 'worlds' / 'secret_shell.py'}:SecretShell"
# docker-py leaves the socket of a refused connection to the garbage collector.
refused_sockets = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Door(threading.Thread):
    """A way to the real engine that can be slammed, or left open with nobody behind it."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path = path
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen(64)
        self.pairs = []
        self.mute = threading.Event()
        self.open = True
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.server.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(SOCKET)
                self.pairs += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    def pump(self, one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(65_536):
                if not self.mute.is_set():
                    other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def hang_up(self):
        """End every connection, and take new ones."""
        for one in self.pairs:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def slam(self):
        if self.open:
            self.open = False
            self.server.shutdown(socket.SHUT_RDWR)
            self.join()
            self.server.close()
            self.hang_up()
            self.path.unlink()

    def close(self):
        self.slam()
        for one in self.pairs:
            one.close()


@pytest.fixture
def door(tmp_path, monkeypatch):
    if not os.access(SOCKET, os.W_OK):
        pytest.skip("no engine socket to stand in front of")
    door = Door(tmp_path / "engine.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{door.path}")
    monkeypatch.setattr(engine_module, "_AGAIN_SECONDS", 0.3)
    monkeypatch.setattr(runner_module, "BACKOFF", 0.01)
    yield door
    door.close()
    gc.collect()


async def leased_pool():
    try:
        return Pool(await DockerBackend.connect(), size=1)
    except MissingError as problem:
        pytest.skip(str(problem))


def lease(pool, group="1"):
    return pool.lease(SandboxSpec(), pack="p", group=group)


@refused_sockets
@pytest.mark.docker
async def test_a_lost_engine_is_told_from_a_lost_sandbox_and_refuses_new_leases(door):
    pool = await leased_pool()
    try:
        async with lease(pool) as box:
            running = asyncio.create_task(box.shell("sleep 60", timeout=60))
            await asyncio.sleep(0.2)
            await asyncio.to_thread(door.slam)
            with pytest.raises(EngineLost):
                await asyncio.wait_for(running, 5)
            with pytest.raises(EngineLost):
                await box.freeze(["*"], FreezeCaps())
            with pytest.raises(EngineLost):  # no empty evidence, which would be graded
                await TerminalSession(box).freeze(["*"])
        with pytest.raises(SandboxUnavailable):
            async with lease(pool, "2"):
                pass
    finally:
        await asyncio.wait_for(pool.aclose(), 20)


@refused_sockets
@pytest.mark.docker
async def test_an_engine_that_says_nothing_any_more_is_lost_as_well(door, monkeypatch):
    monkeypatch.setattr(engine_module, "_SILENT_SECONDS", 0.3)
    pool = await leased_pool()
    try:
        async with lease(pool) as box:
            await box.shell("true", timeout=5)
            door.mute.set()
            box._channel.fail("no answer in time")
            with pytest.raises(EngineLost):
                await asyncio.wait_for(box.shell("true", timeout=5), 5)
    finally:
        door.slam()
        await asyncio.wait_for(pool.aclose(), 20)


@pytest.mark.docker
@pytest.mark.parametrize("way", ["hang up", "kill"])
async def test_a_container_that_goes_alone_is_the_agents_doing(door, way):
    pool = await leased_pool()
    async with pool, lease(pool) as box:
        running = asyncio.create_task(box.shell("sleep 60", timeout=60))
        await asyncio.sleep(0.2)
        if way == "kill":
            name = next(iter(pool._leased)).slot.name
            await asyncio.to_thread(pool._backend.client.api.kill, name)
        else:
            door.hang_up()
        with pytest.raises(SandboxLost) as lost:
            await asyncio.wait_for(running, 5)
        assert type(lost.value) is SandboxLost
        assert await TerminalSession(box).freeze(["*"]) == ()


async def test_a_cancelled_call_leaves_the_question_to_the_next_one():
    asked = 0

    async def engine_lost():
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.1)
        return True

    class Gone:
        async def ask(self, *_, **__):
            raise SandboxLost("gone")

        def fail(self, reason):
            pass

    machine = Machine(Gone(), "docker", engine_lost)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await machine.shell("true", timeout=1)
    with pytest.raises(EngineLost):
        await machine.freeze([], FreezeCaps())
    assert asked == 1


# ---- what counts as proof ----


@pytest.fixture
def listener(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(8)
        yield server


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nOK", "here"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "here"),
        (b"HTTP/1.1 503 No engine\r\n\r\n", "refused"),
        (b"", "refused"),
    ],
)
async def test_what_is_said_to_a_ping(listener, said, answer):
    def serve():
        one, _ = listener.accept()
        with one:
            one.recv(1000)
            one.sendall(said)

    serving = asyncio.create_task(asyncio.to_thread(serve))
    assert await asyncio.to_thread(ask, listener.family, listener.getsockname()) == answer
    await serving


@pytest.mark.parametrize(
    ("answers", "gone"),
    [
        (["here", "here"], False),
        (["silent", "here"], False),  # a host under load
        (["here", "silent"], False),
        (["here", "refused"], True),  # its containers went first
        (["silent", "silent"], True),
        (["refused"], True),
    ],
)
async def test_one_silence_proves_nothing(monkeypatch, answers, gone):
    monkeypatch.setattr(engine_module, "_AGAIN_SECONDS", 0)
    left = list(answers)
    monkeypatch.setattr(engine_module, "ask", lambda *_: left.pop(0))
    engine = Engine()
    assert await engine.is_gone(socket.AF_UNIX, "somewhere") is gone
    engine.close()
    assert left == []
    assert not await engine.is_gone(socket.AF_UNIX, "somewhere")  # closed: it was us


# ---- what a run records ----


class Writing:
    """Writes a file in its first turn; before the second, `strikes[episode]` happens behind its back."""

    name = "writing"

    def __init__(self, strikes):
        self.strikes = strikes
        self.opened = 0

    def describe(self):
        return {"name": self.name}

    async def variants(self, judge, split, index):
        return (None,)

    async def aclose(self):
        pass

    async def open(self, casting):
        strike = self.strikes.get(self.opened)
        self.opened += 1
        turn = 0

        def act(observation):
            nonlocal turn
            turn += 1
            if turn == 2 and strike is not None:
                strike()
            if turn == 3:
                return Action("done")
            return call("shell_run", command="echo x > answer.txt")

        return Local(act)


def kill_own_containers():
    client = docker.from_env()
    mine = {"label": f"{owner.LABEL}={owner.me()}"}
    for one in client.containers.list(filters=mine):
        one.kill()
    client.close()


async def recorded(folder, strikes):
    settings = RunSettings(spec=SHELL, tasks=3, concurrency=1, backend="docker", out=folder)
    async with Runner(settings, Writing(strikes)) as runner:
        await asyncio.wait_for(runner.run(lambda _: None), 60)
    return read_episodes(folder)


@refused_sockets
@pytest.mark.docker
async def test_an_engine_that_goes_in_an_episode_voids_it_and_no_earlier_one(door, tmp_path):
    first, second, third = await recorded(tmp_path / "run", {1: door.slam})
    assert (first.reward, first.invalid, first.ending) == (0.0, None, "answer")
    for episode in (second, third):
        assert (episode.reward, episode.invalid) == (None, Reason.ENGINE_UNAVAILABLE)


@pytest.mark.docker
async def test_a_container_that_goes_in_an_episode_is_a_score(door, tmp_path):
    episodes = await recorded(tmp_path / "run", {1: kill_own_containers})
    assert [(one.reward, one.invalid, one.attempts) for one in episodes] == [(0.0, None, 1)] * 3
    assert [one.blame for one in episodes] == [None, "agent", None]
    assert episodes[1].ending == "world_lost"
