"""The docker backend: one hardened container per slot, driven over its own attached stdio."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from envkit.errors import MissingError, SandboxLost, SandboxUnavailable

from . import owner
from .channel import Channel
from .engine import Engine
from .payload import BOOTSTRAP, payload
from .sandbox import SandboxSpec
from .slots import HELLO_SECONDS, check_hello, configuration

if TYPE_CHECKING:
    from docker import DockerClient

_T = TypeVar("_T")

DEFAULT_IMAGE = "envkit/base:bookworm"
PULLED_IMAGE = "debian:bookworm-slim"
_API_SECONDS = 60
_RESET_SECONDS = 15.0
_KEEPER_CAPABILITIES = (
    "SYS_ADMIN SETPCAP NET_ADMIN KILL SETUID SETGID CHOWN DAC_OVERRIDE FOWNER".split()
)
_COMMAND = ["python3", "-I", "-S", "-c", BOOTSTRAP]


class DockerBackend:
    """Slots from an engine that docker-py reaches; `connect` makes one."""

    name: Literal["docker", "bubblewrap"] = "docker"
    most_leases: int | None = None

    def __init__(self, client: DockerClient, info: dict[str, Any]) -> None:
        self.notes: tuple[str, ...] = ()
        self.client = client
        self.engine = Engine()
        self._options = info.get("SecurityOptions") or []
        self._runtimes = info.get("Runtimes") or {}
        self._limit = asyncio.Semaphore(2 * (os.cpu_count() or 1))
        self._images: dict[str | None, str] = {}

    @classmethod
    async def connect(cls) -> DockerBackend:
        """Reach the engine. Raises MissingError where none answers."""
        try:
            import docker
        except ImportError:
            raise MissingError("the docker package is not installed; pip install docker") from None

        def reach() -> tuple[DockerClient, dict[str, Any]]:
            client = docker.from_env(timeout=_API_SECONDS, max_pool_size=64)
            return client, client.info()

        try:
            return cls(*await asyncio.to_thread(_in_words, reach))
        except SandboxUnavailable as problem:
            raise MissingError(
                f"no container engine answers ({problem}); start Docker or Podman's API service,"
                " or set DOCKER_HOST"
            ) from None

    async def open(self, spec: SandboxSpec) -> DockerSlot:
        """Create, attach, start, send the payload, check the proof."""
        config = configuration(spec, "keeper")
        image = await self.image(spec.image)
        if spec.runtime is not None and spec.runtime not in self._runtimes:
            raise MissingError(
                f"the engine knows no runtime {spec.runtime!r}; install and register it"
            )
        settings = self._settings(spec, image, config)
        async with self._limit:
            # Named before it exists, so that whatever is interrupted can be removed.
            slot = DockerSlot(self, f"envkit-{os.getpid()}-{secrets.token_hex(6)}", config)
            try:
                hello = await self._start(slot, image, settings)
                slot.notes = check_hello(hello, config)
            except BaseException:
                await slot.destroy()
                raise
        slot.resets = not slot.notes
        return slot

    async def aclose(self) -> None:
        """Close the connections to the engine."""
        self.engine.close()
        await asyncio.to_thread(self.client.close)

    async def _start(
        self, slot: DockerSlot, image: str, settings: dict[str, Any]
    ) -> dict[str, Any]:
        """Attach before the start, so that no byte is lost; then send the payload."""
        api: Any = self.client.api
        attach = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        try:
            await self._call(lambda: api.create_container_from_config(settings, slot.name))
            ours = await self._call(
                lambda: _own_socket(api.attach_socket(slot.name, params=attach))
            )
            slot.engine_at = (ours.family, ours.getpeername())
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: slot.channel, sock=ours)
            await self._call(lambda: api.start(slot.name))
            slot.channel.send_raw(payload(slot.config))
            return await slot.channel.hello(HELLO_SECONDS)
        except SandboxLost as problem:
            raise SandboxUnavailable(f"a new container ended at once: {problem}") from None
        except SandboxUnavailable as problem:
            if "python3" in str(problem) and "executable file not found" in str(problem):
                raise MissingError(
                    f"image {image!r} has no python3, which the supervisor runs on; add it"
                ) from None
            raise

    async def _call(self, what: Callable[[], _T]) -> _T:
        """An engine call on a thread. Cancelled, it is waited for: nothing is made unseen."""
        task = asyncio.create_task(asyncio.to_thread(_in_words, what))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            with contextlib.suppress(SandboxUnavailable):
                await task
            raise

    async def image(self, wanted: str | None) -> str:
        """The image to run, once it is known to be here. Raises MissingError."""
        if wanted in self._images:
            return self._images[wanted]
        named = wanted or os.environ.get("ENVKIT_IMAGE")
        for name in (named,) if named else (DEFAULT_IMAGE, PULLED_IMAGE):
            if await self._has(name):
                self._images[wanted] = name
                return name
        if named:
            raise MissingError(f"image {named!r} is not on this machine; docker pull {named}")
        if os.environ.get("ENVKIT_PULL") == "1":
            await self._call(lambda: self.client.images.pull(PULLED_IMAGE))
            self._images[wanted] = PULLED_IMAGE
            return PULLED_IMAGE
        raise MissingError(
            f"image {DEFAULT_IMAGE!r} is not on this machine; run envkit doctor --build-image"
            f" (or set ENVKIT_IMAGE, or ENVKIT_PULL=1 to allow pulling {PULLED_IMAGE})"
        )

    async def _has(self, name: str) -> bool:
        from docker.errors import ImageNotFound

        def look() -> bool:
            try:
                self.client.images.get(name)
            except ImageNotFound:
                return False
            return True

        return await self._call(look)

    def _settings(self, spec: SandboxSpec, image: str, config: dict[str, Any]) -> dict[str, Any]:
        """The container, hardened: everything off that is not needed."""
        security = ["no-new-privileges:true"]
        if any("name=apparmor" in option for option in self._options):
            security.append("apparmor=unconfined")  # its profile forbids mount, seccomp refuses it
        memory = spec.memory_mb << 20
        sizes = {path: size for path, size, _ in config["mounts"]}
        tmpfs = {
            path: f"size={size},mode={mode},exec"
            for path, size, mode in config["mounts"]
            if path != "/dev/shm"  # noqa: S108 - it has a setting of its own
        }
        tmpfs[config["workspace"]] += f",uid={config['uid']},gid={config['uid']}"
        host = {
            "AutoRemove": True,
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "CapAdd": list(_KEEPER_CAPABILITIES),
            "SecurityOpt": security,
            "PidsLimit": spec.pids,
            "Memory": memory,
            "MemorySwap": memory,
            "NanoCpus": int(spec.cpus * 1e9),
            "ReadonlyRootfs": True,
            "LogConfig": {"Type": "none", "Config": {}},
            "IpcMode": "private",
            "ShmSize": sizes["/dev/shm"],  # noqa: S108 - the mount point
            "Tmpfs": tmpfs,
            "Ulimits": [
                {"Name": "nofile", "Soft": 4096, "Hard": 4096},
                {"Name": "core", "Soft": 0, "Hard": 0},
            ],
        }
        if spec.runtime is not None:
            host["Runtime"] = spec.runtime
        return {
            "Image": image,
            "Entrypoint": _COMMAND,
            "Cmd": [],
            "User": "0:0",
            "WorkingDir": "/",
            "NetworkDisabled": True,
            "OpenStdin": True,
            "StdinOnce": True,
            "AttachStdin": True,
            "AttachStdout": True,
            "AttachStderr": True,
            "Labels": {owner.LABEL: owner.me()},
            "HostConfig": host,
        }

    def remove(self, name: str) -> None:
        """Remove a container and wait until it is gone; runs on a thread."""
        from docker.errors import APIError, NotFound

        deadline = time.monotonic() + _API_SECONDS
        while time.monotonic() < deadline:
            try:
                self.client.api.remove_container(name, force=True, v=True)
                self.client.api.inspect_container(name)
            except NotFound:
                return
            except APIError:  # a removal is under way
                pass
            time.sleep(0.02)


def _in_words(what: Callable[[], _T]) -> _T:
    """An engine call whose failure is one line. Raises SandboxUnavailable.

    The client's own exception is let go first: it holds on to sockets.
    """
    import docker.errors
    import requests

    try:
        return what()
    except (docker.errors.DockerException, requests.RequestException, OSError) as problem:
        words = " ".join(str(problem).split())[:300]
    raise SandboxUnavailable(f"the container engine: {words}")


def _own_socket(wrapped: Any) -> socket.socket:
    """The socket in docker-py's wrapper, as ours alone: the wrapper and its reply are closed."""
    raw = getattr(wrapped, "_sock", wrapped)
    if not isinstance(raw, socket.socket) or isinstance(raw, ssl.SSLSocket):
        raise SandboxUnavailable("the engine's transport gives no plain socket; use a unix socket")
    ours = raw.dup()
    ours.setblocking(False)
    response = getattr(wrapped, "_response", None)
    if response is not None:
        response.close()
    wrapped.close()
    return ours


class DockerSlot:
    """One container."""

    def __init__(self, backend: DockerBackend, name: str, config: dict[str, Any]) -> None:
        self.name, self.config = name, config
        self.channel = Channel(multiplexed=True)
        self.notes: tuple[str, ...] = ()
        self.resets = True
        self.engine_at: tuple[int, Any] | None = None  # where its own connection leads
        self._backend = backend

    async def engine_lost(self) -> bool:
        """Whether the engine went with it."""
        return self.engine_at is not None and await self._backend.engine.is_gone(*self.engine_at)

    async def reset(self) -> None:
        """A new room in the same container. Raises SandboxLost or SandboxUnavailable."""
        check_hello(await self.channel.reset(_RESET_SECONDS), self.config)

    async def destroy(self) -> None:
        """Remove the container."""
        self.channel.fail("it was removed")
        task = asyncio.create_task(asyncio.to_thread(functools.partial(self._remove)))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await task
            raise

    def _remove(self) -> None:
        import requests

        with contextlib.suppress(requests.RequestException, OSError):  # the engine is gone, too
            self._backend.remove(self.name)
