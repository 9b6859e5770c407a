"""The browser process: found, shared, replaced; and who is to blame when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from envkit.adapters.browser import engine
from envkit.errors import EngineLost, MissingError, SandboxLost, SandboxUnavailable
from envkit.host import Host

pytestmark = pytest.mark.browser

HELLO = {"/": "<h1>Hello</h1>"}


def processes(parent: int | None = None) -> dict[int, str]:
    """Chromium and driver processes under a process, by pid."""
    parents, names = {}, {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
            parents[int(entry.name)] = int(stat.rsplit(")", 1)[1].split()[1])
            names[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):
            continue
    found, grew = {parent or os.getpid()}, True
    while grew:
        new = {pid for pid, above in parents.items() if above in found} - found
        found |= new
        grew = bool(new)
    return {pid: names[pid] for pid in found if pid in names and pid != (parent or os.getpid())}


def browsers(parent: int | None = None) -> list[int]:
    """The main processes of browsers, oldest first; not the shell script by which some systems start one."""
    found = [
        pid
        for pid, line in processes(parent).items()
        if "--user-data-dir" in line and "--type=" not in line and "chrom" in line.split()[0]
    ]
    return sorted(found, key=_started)  # not by number: numbers begin again from the lowest


def _started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where browsers of this test keep their profiles: others run on this machine."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return lambda: sorted(path.name for path in tmp_path.iterdir())


async def _engines(host):
    return await host.shared(("browser", True), engine.open_engines)


async def test_a_browser_that_dies_alone_is_the_agents_doing(visit_on):
    async with Host() as host, visit_on(host, HELLO) as v:
        await v.call("read")
        os.kill(browsers()[0], signal.SIGKILL)
        with pytest.raises(SandboxLost) as lost:
            await v.call("goto", url="/")
        assert not isinstance(lost.value, EngineLost)
        with pytest.raises(SandboxLost):
            await v.call("read")
        assert await v.session.freeze(["*"])  # what was visited is evidence all the same
        await v.session.surfaces()


async def test_a_browser_that_dies_before_the_agent_acts_is_not(visit_on):
    async with Host() as host, visit_on(host, HELLO) as v:
        os.kill(browsers()[0], signal.SIGKILL)
        await asyncio.sleep(0.3)
        with pytest.raises(EngineLost):
            await v.call("read")


async def test_neighbours_are_played_again_and_who_acted_gets_a_browser_of_its_own(visit_on):
    async with Host() as host:
        async with (
            visit_on(host, HELLO, group="offender") as offender,
            visit_on(host, HELLO, group="bystander") as bystander,
        ):
            assert len(browsers()) == 1
            await offender.call("read")
            os.kill(browsers()[0], signal.SIGKILL)
            for v in (offender, bystander):
                with pytest.raises(EngineLost):
                    await v.call("read")
        engines = await _engines(host)
        assert engines.launched == 1
        async with (
            visit_on(host, HELLO, group="bystander") as bystander,
            visit_on(host, HELLO, group="offender") as offender,
        ):
            await bystander.call("read")
            await offender.call("read")
            assert engines.launched == 3
            os.kill(browsers()[1], signal.SIGKILL)  # the one that was started for the offender
            with pytest.raises(SandboxLost) as lost:
                await offender.call("read")
            assert not isinstance(lost.value, EngineLost)
            await bystander.call("read")
            assert "Hello" in bystander.text
        async with visit_on(host, HELLO, group="another") as another:
            await another.call("read")
            assert engines.launched == 3  # a browser of one's own is not for others
    assert not browsers()


async def test_a_driver_that_dies_is_a_browser_that_dies(visit_on, temporary):
    async with Host() as host:
        async with visit_on(host, HELLO) as v:
            await v.call("read")
            driver = next(
                pid
                for pid, line in processes().items()
                if "run-driver" in line or "/driver/node" in line
            )
            os.kill(driver, signal.SIGKILL)
            with pytest.raises(SandboxLost):
                await v.call("goto", url="/")
        async with visit_on(host, HELLO) as v:
            await v.call("read")
            assert "Hello" in v.text


@pytest.mark.slow
async def test_a_browser_that_does_not_answer_is_replaced(visit_on, monkeypatch):
    monkeypatch.setattr("envkit.adapters.browser.drive.GOTO_SECONDS", 1.5)
    monkeypatch.setattr("envkit.adapters.browser.session.GOTO_SECONDS", 1.5)
    monkeypatch.setattr("envkit.adapters.browser.drive.ACTION_SECONDS", 1.0)
    monkeypatch.setattr("envkit.adapters.browser.adapter._CLOSE_SECONDS", 1.0)
    monkeypatch.setattr(engine, "_CLOSE_SECONDS", 1.0)
    monkeypatch.setattr(engine, "_LOOK_SECONDS", 1.0)
    async with Host() as host:
        async with visit_on(host, HELLO) as v:
            await v.call("read")
            os.kill(browsers()[0], signal.SIGSTOP)
            with pytest.raises(SandboxLost):
                await v.call("goto", url="/")
        async with visit_on(host, HELLO) as v:
            await v.call("read")
            assert "Hello" in v.text
    await asyncio.sleep(0.5)
    assert not browsers()


@pytest.mark.slow
async def test_a_browser_that_is_busy_with_others_costs_nobody_a_tab(visit_on, monkeypatch):
    monkeypatch.setattr("envkit.adapters.browser.session.ACTION_SECONDS", 0.5)
    async with Host() as host, visit_on(host, {"/": "<input aria-label=Name>"}) as v:
        await v.call("read")
        await v.call("fill", ref=v.ref("Name"), text="half of it")
        (main,) = browsers()
        os.kill(main, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(5, os.kill, main, signal.SIGCONT)
        assert (await v.call("press", key="End")).error
        assert "Note: the page did not answer in time" in v.text
        assert "ended" not in v.text
        assert "closed" not in v.text
        await v.call("read")
        assert "half of it" in v.text


async def test_a_browser_is_replaced_after_its_share_of_episodes(visit_on, monkeypatch):
    monkeypatch.setattr(engine, "EPISODES", 2)
    async with Host() as host:
        engines = None
        async with visit_on(host, HELLO) as first:
            for _ in range(2):
                async with visit_on(host, HELLO):
                    pass
            engines = await _engines(host)
            assert engines.launched == 2
            await first.call("read")  # the old one lives while it is used
            assert "Hello" in first.text
        assert len(browsers()) == 1


async def test_what_is_missing_is_said(monkeypatch, visit_on):
    with pytest.raises(MissingError, match="apt install chromium"):
        engine.find_chromium({"PATH": "/nonexistent"})
    with pytest.raises(MissingError, match="ENVKIT_CHROMIUM"):
        engine.find_chromium({"ENVKIT_CHROMIUM": "/nonexistent/chrome"})
    monkeypatch.setenv("ENVKIT_CHROMIUM", "/bin/false")
    async with Host() as host:
        with pytest.raises(SandboxUnavailable, match="Chromium did not start"):
            async with visit_on(host, HELLO):
                pass
    assert not processes()


async def test_cancelled_anywhere_it_leaves_nothing(visit_on):
    async with Host() as host:

        async def episode():
            async with visit_on(host, HELLO) as v:
                while True:
                    await v.call("goto", url="/")

        async with visit_on(host, HELLO):
            pass
        for delay in (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0):
            playing = asyncio.ensure_future(episode())
            await asyncio.sleep(delay)
            playing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await playing
        engines = await _engines(host)
        assert not engines._current.leases
        deadline = time.monotonic() + 5
        while engines._current.browser.contexts:  # one whose making was cancelled on the way
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def test_a_start_that_is_cancelled_leaves_nothing(visit_on, temporary):
    begun = time.monotonic()
    async with Host() as host, visit_on(host, HELLO):
        whole = time.monotonic() - begun
    for share in (0.05, 0.3, 0.6):
        async with Host() as host:
            opening = asyncio.ensure_future(visit_on(host, HELLO).__aenter__())
            await asyncio.sleep(share * whole)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            async with visit_on(host, HELLO) as v:  # the host is none the worse
                await v.call("read")
                assert "Hello" in v.text
        assert not processes()
    assert temporary() == []


@pytest.mark.slow
async def test_thirty_episodes_leave_nothing_behind(visit_on, temporary):
    async with Host() as host:

        async def episode():
            async with visit_on(host, HELLO) as v:
                await v.call("read")
                await v.call("click", ref=v.ref("Hello"))

        async def counts():
            engines = await _engines(host)
            assert not engines._current.browser.contexts
            (main,) = browsers()
            return [
                len(processes()),
                *(len(os.listdir(f"/proc/{p}/fd")) for p in (os.getpid(), main)),
            ]

        async def settled(most):
            deadline = time.monotonic() + 15
            while any(now > limit for now, limit in zip(await counts(), most, strict=True)):
                assert time.monotonic() < deadline, (await counts(), most)
                await asyncio.sleep(0.2)

        await asyncio.gather(*(episode() for _ in range(5)))
        await asyncio.sleep(4)  # renderers and sockets go a little after their pages
        few = await counts()
        for _ in range(6):
            await asyncio.gather(*(episode() for _ in range(5)))
        await settled([count + 4 for count in few])
    assert not processes()
    assert temporary() == []


@pytest.mark.slow
def test_a_runner_that_is_killed_takes_its_browser_with_it(temporary):
    program = textwrap.dedent("""
        import asyncio
        from contextlib import asynccontextmanager
        from envkit.adapters.browser.engine import open_engines
        async def main():
            async with open_engines() as engines, engines.lease(("p", "g")) as lease:
                page = await lease.engine.browser.new_page()
                print("up", flush=True)
                await asyncio.sleep(600)
        asyncio.run(main())
    """)
    runner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"up\n"
        left = processes(runner.pid)
        assert any("--type=renderer" in line for line in left.values())
    finally:
        runner.kill()
        runner.wait()
        runner.stdout.close()
    deadline = time.monotonic() + 15
    while alive := [pid for pid in left if _runs(pid)]:
        assert time.monotonic() < deadline, [left[pid][:100] for pid in alive]
        time.sleep(0.1)
    while temporary():
        assert time.monotonic() < deadline, temporary()
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
