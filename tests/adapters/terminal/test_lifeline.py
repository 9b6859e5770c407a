"""However a runner dies, what it made goes; and nobody else's does."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import stat
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from docker.api import APIClient

from envkit.adapters.terminal import docker as docker_backend
from envkit.adapters.terminal import lifeline, owner
from envkit.adapters.terminal.pool import open_pool
from envkit.adapters.terminal.sandbox import SandboxSpec
from envkit.errors import MissingError, SandboxLost, SandboxUnavailable, UsageError

RUNNER = """
import asyncio, sys
from envkit.adapters.terminal.pool import open_pool
from envkit.adapters.terminal.sandbox import SandboxSpec

async def main(backend):
    pool = await open_pool(backend, size=2)
    print("open", flush=True)
    async with pool.lease(SandboxSpec(), pack="p", group="g") as box:
        await box.start("setsid sleep 600")
        print("running", flush=True)
        await box.shell("sleep 600", timeout=600)

asyncio.run(main(sys.argv[1]))
"""


STUCK = """
import time
from docker.api import APIClient

def start(self, name):
    print("created", flush=True)
    time.sleep(600)

APIClient.start = start
"""


@contextlib.contextmanager
def runner(backend, before=""):
    process = subprocess.Popen(
        [sys.executable, "-c", before + RUNNER, backend],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def leftovers(pid):
    """Containers, control groups and processes that name this runner as their owner."""
    found = [str(one) for one in Path("/sys/fs/cgroup").glob(f"**/envkit/*_{pid}_*")]
    docker = pytest.importorskip("docker")
    with contextlib.suppress(docker.errors.DockerException):
        client = docker.from_env()
        for one in client.api.containers(all=True, filters={"label": owner.LABEL}):
            if f"/{pid}/" in one["Labels"][owner.LABEL]:
                found.append(one["Id"])
        client.close()
    return found


def gone_within(pid, seconds):
    deadline = time.monotonic() + seconds
    while leftovers(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def backend_or_skip(name):
    async def look():
        async with await open_pool(name):
            pass

    try:
        asyncio.run(look())
    except MissingError as problem:
        pytest.skip(str(problem))


@pytest.mark.docker
def test_docker_runner_killed_while_running():
    backend_or_skip("docker")
    with runner("docker") as process:
        assert process.stdout.readline() == b"open\n"
        assert process.stdout.readline() == b"running\n"
        assert leftovers(process.pid)
        process.kill()
        process.wait()
        assert gone_within(process.pid, 5)


@pytest.mark.docker
def test_docker_runners_killed_while_creating():
    backend_or_skip("docker")
    with contextlib.ExitStack() as stack:
        runners = [stack.enter_context(runner("docker")) for _ in range(3)]
        for process, delay in zip(runners, (0.0, 0.08, 0.25), strict=True):
            assert process.stdout.readline() == b"open\n"
            time.sleep(delay)
            process.kill()
            process.wait()
        time.sleep(1)  # a creation under way may only now turn into a container
        assert [gone_within(process.pid, 4) for process in runners] == [True] * 3
        time.sleep(1)
        assert [leftovers(process.pid) for process in runners] == [[]] * 3


@pytest.mark.docker
def test_docker_runner_killed_between_create_and_start():
    """The one moment when only the reaper can help: nothing runs that could see its input end."""
    backend_or_skip("docker")
    with runner("docker", STUCK) as process:
        assert process.stdout.readline() == b"open\n"
        assert process.stdout.readline() == b"created\n"
        assert leftovers(process.pid)
        process.kill()
        process.wait()
        assert gone_within(process.pid, 5)


@pytest.mark.docker
def test_docker_lifeline_alone_is_enough_while_running():
    """Even without its reaper: the keeper ends with its standard input."""
    backend_or_skip("docker")
    with runner("docker") as process:
        process.stdout.readline()
        process.stdout.readline()
        for reaper in _children(process.pid, "reaper.py"):
            os.kill(reaper, signal.SIGKILL)
        process.kill()
        process.wait()
        assert gone_within(process.pid, 5)


@pytest.mark.bubblewrap
def test_bubblewrap_runner_killed():
    backend_or_skip("bubblewrap")
    with runner("bubblewrap") as process:
        process.stdout.readline()
        process.stdout.readline()
        sandboxes = _children(process.pid, "bwrap")
        assert sandboxes
        process.kill()
        process.wait()
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{pid}").exists() for pid in sandboxes):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert gone_within(process.pid, 5)


def _children(parent, word):
    found, known = [], {parent}
    for entry in sorted(Path("/proc").glob("[0-9]*"), key=lambda one: int(one.name)):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) in known:
                known.add(int(entry.name))
                if word in (entry / "cmdline").read_text():
                    found.append(int(entry.name))
    return found


def test_an_owner_is_dead_only_where_we_can_see_that():
    boot, namespace, pid, start = owner.me().split("/")
    assert not owner.is_dead(owner.me())
    assert owner.is_dead(f"{boot}/{namespace}/{pid}/1{start}")  # its pid is another process's now
    assert owner.is_dead(f"{boot}/{namespace}/999999999/{start}")
    for unseen in (
        f"another/{namespace}/999999999/{start}",
        f"{boot}/1{namespace}/999999999/{start}",
        f"{boot}/{namespace}/x/{start}",
        "garbage",
        "",
    ):
        assert not owner.is_dead(unseen)


@pytest.mark.docker
def test_clean_removes_dead_owners_containers_only():
    backend_or_skip("docker")
    docker = pytest.importorskip("docker")
    client = docker.from_env()
    me = owner.me()
    dead = "/".join([*me.split("/")[:2], "999999", "1"])
    elsewhere = "/".join(["another-boot", *dead.split("/")[1:]])  # dead or not: we can't see it
    made = {}
    try:
        for name, labels in {
            "dead": {owner.LABEL: dead},
            "mine": {owner.LABEL: me},
            "elsewhere": {owner.LABEL: elsewhere},
            "stranger": {},
        }.items():
            image = client.images.list()[0].id
            made[name] = client.containers.create(image, "true", labels=labels)
        removed = lifeline.clean()
        assert made["dead"].id in removed
        left = {
            one["Id"] for one in client.api.containers(all=True)
        }  # `list` asks again about each
        assert {name for name, one in made.items() if one.id in left} == {
            "mine",
            "elsewhere",
            "stranger",
        }
    finally:
        for one in made.values():
            with contextlib.suppress(docker.errors.NotFound):
                one.remove(force=True)
        client.close()


@pytest.mark.docker
async def test_closing_a_pool_leaves_no_container_and_no_process():
    try:
        pool = await open_pool("docker", size=2)
    except MissingError as problem:
        pytest.skip(str(problem))
    async with pool.lease(SandboxSpec(), pack="p", group="1") as box:
        await box.start("sleep 600")
    async with pool.lease(SandboxSpec(), pack="p", group="2") as lost:
        await pool.aclose()
        with pytest.raises(SandboxLost):
            await lost.shell("echo", timeout=5)
    assert leftovers(os.getpid()) == []
    assert _children(os.getpid(), "reaper.py") == []
    with pytest.raises(SandboxUnavailable):
        async with pool.lease(SandboxSpec(), pack="p", group="3"):
            pass


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("docker", marks=pytest.mark.docker),
        pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
    ],
)
async def test_leases_cancelled_while_they_are_made_leave_nothing(backend):
    async def episode(pool, number):
        spec = SandboxSpec(memory_mb=128 + number, disk_mb=32)  # none fits another: all are made
        async with pool.lease(spec, pack="p", group="g") as box:
            await box.shell("sleep 60", timeout=60)

    try:
        pool = await open_pool(backend, size=1)
    except MissingError as problem:
        pytest.skip(str(problem))
    async with pool:
        tasks = [asyncio.create_task(episode(pool, number)) for number in range(4)]
        for task in tasks:
            await asyncio.sleep(0.06)
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(one) for one in ended} == {asyncio.CancelledError}
    await asyncio.sleep(0.5)  # what an engine may have been asked for meanwhile
    assert leftovers(os.getpid()) == []


@pytest.mark.docker
async def test_a_lease_cancelled_while_the_engine_makes_its_container_leaves_none(monkeypatch):
    try:
        pool = await open_pool("docker", size=1)
    except MissingError as problem:
        pytest.skip(str(problem))
    create = APIClient.create_container_from_config

    def create_slowly(*arguments, **settings):
        time.sleep(0.3)
        return create(*arguments, **settings)

    monkeypatch.setattr(APIClient, "create_container_from_config", create_slowly)
    async with pool:
        backend = pool._backend
        opening = asyncio.create_task(backend.open(SandboxSpec()))
        await asyncio.sleep(0.15)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    await asyncio.sleep(0.5)
    assert leftovers(os.getpid()) == []


@pytest.mark.docker
async def test_a_supervisor_that_dies_is_never_silent():
    try:
        pool = await open_pool("docker", size=1)
    except MissingError as problem:
        pytest.skip(str(problem))
    async with pool, pool.lease(SandboxSpec(), pack="p", group="1") as box:
        running = asyncio.create_task(box.shell("sleep 60", timeout=60))
        await asyncio.sleep(0.2)
        slot = next(iter(pool._leased)).slot
        table = await asyncio.to_thread(pool._backend.client.api.top, slot.name, "-o pid,ppid")
        rows = [(int(pid), int(parent)) for pid, parent in table["Processes"]]
        (keeper,) = {parent for _, parent in rows} - {pid for pid, _ in rows}
        (keeper,) = [pid for pid, parent in rows if parent == keeper]
        (supervisor,) = [pid for pid, parent in rows if parent == keeper]
        os.kill(supervisor, signal.SIGKILL)
        with pytest.raises(SandboxLost):
            await asyncio.wait_for(running, 5)


@pytest.mark.bubblewrap
async def test_bubblewrap_leaves_nothing_on_the_host(tmp_path):
    try:
        pool = await open_pool("bubblewrap", size=2)
    except MissingError as problem:
        pytest.skip(str(problem))
    before = time.time()
    async with pool, pool.lease(SandboxSpec(), pack="p", group="1") as box:
        await box.shell(
            "for d in / /tmp /var/tmp /workspace /dev/shm /usr /etc; do"
            " cp /bin/bash $d/envkit-probe; chmod 6755 $d/envkit-probe; done",
            timeout=20,
        )
    assert _planted(before) == []
    assert leftovers(os.getpid()) == []


@pytest.mark.bubblewrap
async def test_bubblewrap_never_runs_as_root_on_the_host():
    try:
        pool = await open_pool("bubblewrap", size=1)
    except MissingError as problem:
        pytest.skip(str(problem))
    async with pool, pool.lease(SandboxSpec(), pack="p", group="1") as box:
        await box.start("exec sleep 611")
        await asyncio.sleep(0.2)
        inside = {*_children(os.getpid(), "bwrap"), *_children(os.getpid(), "611")}
        assert len(inside) >= 2
        assert 0 not in {_real_uid(pid) for pid in inside}


def _planted(since):
    """What a sandbox could have left in the host's own folders."""
    found = []
    for folder in ("/", "/tmp", "/var/tmp", "/dev/shm", "/usr", "/etc"):
        for path in Path(folder).iterdir():
            with contextlib.suppress(OSError):
                facts = path.lstat()
                setuid = stat.S_ISREG(facts.st_mode) and facts.st_mode & 0o6000
                if path.name == "envkit-probe" or (setuid and facts.st_ctime >= since):
                    found.append(path)
    return found


def _real_uid(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("Uid:"):
            return int(line.split()[1])
    raise AssertionError(pid)


@pytest.mark.bubblewrap
async def test_two_pools_of_one_process_do_not_meet():
    try:
        agents, subjects = await open_pool("bubblewrap"), await open_pool("bubblewrap")
    except MissingError as problem:
        pytest.skip(str(problem))
    async with (
        agents,
        subjects,
        agents.lease(SandboxSpec(), pack="p", group="1") as one,
        subjects.lease(SandboxSpec(), pack="p", group="1") as two,
    ):
        await one.write({"x": b"1"})
        assert await two.listing(".", limit=9) == []
    assert leftovers(os.getpid()) == []


@pytest.mark.docker
async def test_missing_image_says_so():
    try:
        pool = await open_pool("docker")
    except MissingError as problem:
        pytest.skip(str(problem))
    async with pool:
        with pytest.raises(MissingError, match="image 'no/such:image' is not on this machine"):
            async with pool.lease(SandboxSpec(image="no/such:image"), pack="p", group="g"):
                pass
        with pytest.raises(MissingError, match="runtime 'nope'"):
            async with pool.lease(SandboxSpec(runtime="nope"), pack="p", group="g"):
                pass
        with pytest.raises(UsageError, match="memory_mb=100"):
            async with pool.lease(SandboxSpec(memory_mb=100), pack="p", group="g"):
                pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as below
async def test_missing_engines_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match=r"no container engine answers.*bwrap is not installed"):
        await open_pool("auto")
    with pytest.raises(UsageError):
        await open_pool("host")  # type: ignore[arg-type]
    gc.collect()


@pytest.mark.docker
async def test_an_image_without_python_says_so(tmp_path):
    docker = pytest.importorskip("docker")
    try:
        pool = await open_pool("docker")
    except MissingError as problem:
        pytest.skip(str(problem))
    archive = tmp_path / "empty.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(__file__, arcname="nothing")
    client = docker.from_env()
    image = f"envkit-test/empty:{os.getpid()}"
    try:
        await asyncio.to_thread(client.api.import_image, str(archive), *image.split(":"))
        async with pool:
            with pytest.raises(MissingError, match="has no python3"):
                async with pool.lease(SandboxSpec(image=image), pack="p", group="g"):
                    pass
    finally:
        client.images.remove(image, force=True)
        client.close()


@pytest.mark.docker
async def test_without_namespaces_every_lease_gets_a_container_of_its_own(monkeypatch):
    kept = [name for name in docker_backend._KEEPER_CAPABILITIES if name != "SYS_ADMIN"]
    monkeypatch.setattr(docker_backend, "_KEEPER_CAPABILITIES", kept)
    try:
        pool = await open_pool("docker", size=1)
    except MissingError as problem:
        pytest.skip(str(problem))
    async with pool:
        for turn in range(2):
            async with pool.lease(SandboxSpec(), pack="p", group=f"{turn}") as box:
                done = await box.shell("ls -A . /tmp /dev/shm; echo x > x; id -u", timeout=10)
                assert set(done.stdout.split()) == {b".:", b"/tmp:", b"/dev/shm:", b"1000"}
        assert any("no namespaces" in note for note in pool.notes)
