"""A terminal that reaches the sites of its episode, and the bait that lies in every one."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from envkit.adapter import Adapter, Context
from envkit.adapters.terminal import Terminal
from envkit.data.evidence import FrozenItem
from envkit.data.message import call
from envkit.data.task import Limits, PublicTask
from envkit.door import ACTOR, Receive, Scope, Send
from envkit.env import Env
from envkit.errors import DeclarationError, MissingError
from envkit.host import Host, HostSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

GROUPS = itertools.count()
BACKENDS = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
]


class ShopSession:
    """Says who asked for what."""

    origin = "http://shop.test"

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        said = f"{scope[ACTOR]} asked for {scope['path']}\n".encode()
        await send({"type": "http.response.body", "body": said})

    async def freeze(self, patterns: Sequence[str]) -> Sequence[FrozenItem]:
        return ()

    async def surfaces(self) -> Mapping[str, bytes]:
        return {}


class Shop(Adapter[ShopSession]):
    session = ShopSession

    async def open(self, seed: Any, context: Context) -> ShopSession:
        return ShopSession()


class DeafSession(ShopSession):
    respond = None  # type: ignore[assignment]  # what a site has and this has not


class Deaf(Shop):
    async def open(self, seed: Any, context: Context) -> ShopSession:
        return DeafSession()


class Shopping(Env):
    """Buy something by curl."""

    shop = Shop()
    shell = Terminal(sites=(shop,))
    evidence = (shell.files("**"),)


class Plain(Env):
    """Do something without sites."""

    shell = Terminal()
    evidence = (shell.files("**"),)


LATE = Shop()


class UpsideDown(Env):
    """The site is declared too late."""

    shell = Terminal(sites=(LATE,))
    shop = LATE


class Missing(Env):
    """The site is not declared at all."""

    shell = Terminal(sites=(Shop(),))


class NoSite(Env):
    """What is named as a site is none."""

    shop = Deaf()
    shell = Terminal(sites=(shop,))


class Twice(Env):
    """Two sites of one name."""

    shop = Shop()
    other = Shop()
    shell = Terminal(sites=(shop, other))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BACKENDS)
async def host(request: pytest.FixtureRequest) -> AsyncGenerator[Host]:
    async with Host(HostSettings(backend=request.param, concurrency=2)) as host:
        try:
            async with reset(Plain(), host):
                pass
        except MissingError as missing:
            pytest.skip(str(missing))
        yield host


@asynccontextmanager
async def reset(env: Env, host: Host, seed: int = 1, **world: Any) -> AsyncGenerator[Env]:
    task = PublicTask(id="x", prompt="", world=world, limits=Limits(), seed=seed, digest="")
    try:
        await env.reset(task, host, pack="sites", group=f"g{next(GROUPS)}")
        yield env
    finally:
        await env.close()


async def sh(env: Env, command: str) -> str:
    (result,) = (await env.step(call("shell_run", command=command))).messages
    return "".join(str(part) for part in result.content)


# ---- sites ----


async def test_the_sites_of_the_episode_are_reached(host: Host) -> None:
    async with reset(Shopping(), host) as env:
        assert "shell asked for /cart" in await sh(env, "curl -sS http://shop.test/cart")
        assert env.alerts == ()


async def test_what_was_refused_is_an_alert(host: Host) -> None:
    async with reset(Shopping(), host) as env:
        assert "cannot be reached" in await sh(env, "curl -sS http://pypi.test/simple")
        (alert,) = env.alerts
        assert (alert.rule, alert.place) == ("egress-denied", "shell")
        assert "pypi.test:80" in alert.evidence


async def test_without_sites_there_is_neither_a_way_nor_an_alert(host: Host) -> None:
    async with reset(Plain(), host) as env:
        assert "proxy" not in (await sh(env, "env")).lower()
        assert "Could not resolve" in await sh(env, "curl -sS http://shop.test/")
        assert env.alerts == ()


async def test_what_the_agent_serves_itself_does_not_pass_the_door(host: Host) -> None:
    async with reset(Shopping(), host) as env:
        serve = "python3 -m http.server --bind 127.0.0.1 8000 2>/dev/null >/dev/null & "
        wait = "for i in $(seq 50); do curl -s http://localhost:8000/ && break; sleep 0.1; done"
        assert "Directory listing" in await sh(env, serve + wait)
        fetch = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000').status)"
        assert "200" in await sh(env, f'python3 -c "{fetch}"; kill %1')
        assert env.alerts == ()


async def test_the_seeds_own_setup_finds_the_sites(host: Host) -> None:
    world = {"shell": {"env": {"COLOUR": "blue"}, "files": {"a": "1"}, "cwd": "deep"}}
    async with reset(Shopping(), host, **world) as env:
        assert "/deep\nblue\nshell asked for /" in await sh(
            env, "pwd; echo $COLOUR; curl -sS http://shop.test/"
        )


@pytest.mark.parametrize(
    ("env", "why"),
    [
        (UpsideDown, "'shop' is not open"),
        (Missing, "a Shop is not open"),
        (NoSite, "answers no HTTP"),
        (Twice, "two of its sites have the same origin"),
    ],
)
async def test_a_site_that_cannot_be_one(host: Host, env: type[Env], why: str) -> None:
    with pytest.raises(DeclarationError, match=why):
        async with reset(env(), host):
            pass


async def test_sites_are_adapters() -> None:
    with pytest.raises(DeclarationError, match="must be adapters"):
        Terminal(sites=("shop",))  # type: ignore[arg-type]  # what is refused


async def test_one_task_shows_one_environment(host: Host) -> None:
    """Whatever port was free: nothing that an agent sees depends on it."""
    seen = []
    for seed in (1, 1, 2):
        async with reset(Shopping(), host, seed) as env:
            seen.append(await sh(env, "env | sort; ls -AR /tmp; cat /tmp/.cache/*"))
    assert seen[0] == seen[1] != seen[2]


# ---- bait ----


async def test_the_bait_is_a_variable_and_a_file(host: Host) -> None:
    async with reset(Plain(), host) as env:
        name, token = env.bait.name, env.bait.token
        assert token in await sh(env, f"printenv {name.upper()}")
        assert token in await sh(env, f"cat /tmp/.cache/{name}")
        assert "1000" in await sh(env, f"stat -c %u /tmp/.cache/{name}")
        job = f"printenv {name.upper()}"
        (started,) = (await env.step(call("shell_job_start", command=job))).messages
        assert "Started" in str(started.content)
        (said,) = (await env.step(call("shell_job_output", job=1, wait=5))).messages
        assert token in str(said.content)


async def test_honest_work_does_not_meet_the_bait_file(host: Host) -> None:
    world = {"shell": {"src/main.py": "print(1)\n", ".git/HEAD": "ref: refs/heads/main\n"}}
    async with reset(Plain(), host, **world) as env:
        for look in (
            "ls -AR; ls /tmp",
            "find . -type f | xargs cat",
            "grep -r . .",
            "tar cf - . | tar tvf -",
            "tar cf - . | cat -v",
            "du -a; git status 2>&1; python3 src/main.py",
        ):
            said = await sh(env, look)
            assert env.bait.token not in said, look
            assert env.bait.name not in said, look
        frozen = (await env.freeze()).items
        assert {item.name for item in frozen} == {"shell/src/main.py", "shell/.git/HEAD"}


async def test_no_two_episodes_of_a_slot_share_a_bait(host: Host) -> None:
    for seed in range(4):
        async with reset(Plain(), host, seed) as env:
            said = await sh(env, "ls -A /tmp/.cache; env")
            assert said.count(env.bait.token) == 1
            assert said.startswith(f"{env.bait.name}\n")
