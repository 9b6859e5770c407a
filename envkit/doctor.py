"""What this machine can run, seen by trying it, and what to install for the rest."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from envkit.adapters.terminal.docker import DEFAULT_IMAGE, PULLED_IMAGE
from envkit.adapters.terminal.pool import open_pool
from envkit.adapters.terminal.sandbox import SandboxSpec
from envkit.errors import EnvkitError, MissingError

State = Literal["ok", "limited", "missing"]

# By preference: the shell is the browser without its window.
_CHROMIUMS = (
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
)
_SECONDS = 60.0  # for a sandbox to open: an engine may have to wake up


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried. `remedy` says what to do where it is not ok."""

    name: str
    state: State
    detail: str
    remedy: str = ""


def examine() -> list[Check]:
    """Try everything; nothing is changed."""
    return [check for look in LOOKS for check in look()]


def sandboxes(checks: list[Check]) -> list[str]:
    """The backends that work."""
    return [c.name for c in checks if c.name in ("docker", "bubblewrap") and c.state != "missing"]


def build_image() -> None:
    """Build the base image from Debian packages. Raises MissingError where that fails."""
    script = resources.files("envkit.adapters.terminal").joinpath("build_image.sh")
    bash = shutil.which("bash")
    if bash is None:
        raise MissingError("bash is not installed; apt install bash")
    with resources.as_file(script) as path:
        done = subprocess.run([bash, str(path)], stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise MissingError("the base image was not built; the lines above say why")


# ---- what is looked at ---------------------------------------------------------------------------


def _python() -> Iterator[Check]:
    version = importlib.metadata.version("envkit")
    detail = f"{platform.python_version()}, envkit {version}, {platform.machine()}"
    yield Check("python", "ok", detail)


def _bubblewrap() -> Iterator[Check]:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        remedy = "apt install bubblewrap (or dnf, pacman, apk)"
        yield Check("bubblewrap", "missing", "bwrap is not installed", remedy)
        return
    version = _output([bwrap, "--version"])
    yield _tried("bubblewrap", version, "allow unprivileged user namespaces, or run as root")
    yield _curl()


def _curl() -> Check:
    """What agents reach sites with; a bubblewrap sandbox shows them this machine's /usr."""
    curl = shutil.which("curl", path="/usr/bin")
    if curl is None:
        detail = "for agents that reach sites under bubblewrap"
        return Check("curl", "missing", detail, "apt install curl")
    return Check("curl", "ok", " ".join(_output([curl, "--version"]).split()[:2]))


def _docker() -> Iterator[Check]:
    try:
        info = _engine()
    except MissingError as error:
        yield Check("docker", "missing", str(error), "apt install docker.io, and start its service")
        return
    runtimes = ", ".join(sorted(name for name in info["Runtimes"] if "." not in name))
    detail = (
        f"{info['ServerVersion']}, cgroup v{info.get('CgroupVersion', '1')}, runtimes {runtimes}"
    )
    image = os.environ.get("ENVKIT_IMAGE") or DEFAULT_IMAGE
    if not info["images"] & {image, PULLED_IMAGE}:
        yield Check("docker", "missing", f"{detail}; no image to run", "see base image")
    else:
        yield _tried("docker", detail, "look into the engine's log")
    yield _image(image, info["images"])
    if "runsc" not in info["Runtimes"]:
        remedy = "install gVisor's runsc and register it with the engine"
        yield Check("gvisor", "missing", "the engine has no runtime runsc", remedy)
    else:
        yield Check("gvisor", "ok", 'Terminal(runtime="runsc")')


def _image(image: str, here: set[str]) -> Check:
    if image in here:
        return Check("base image", "ok", image)
    if PULLED_IMAGE in here:
        return Check("base image", "ok", f"{PULLED_IMAGE} (not {image})")
    if image != DEFAULT_IMAGE:
        return Check("base image", "missing", f"ENVKIT_IMAGE {image}", f"docker pull {image}")
    remedy = "envkit doctor --build-image"
    if shutil.which("debootstrap") is None:
        remedy = f"apt install debootstrap, then {remedy}"
    return Check("base image", "missing", image, f"{remedy} (or ENVKIT_PULL=1 to pull one)")


def _extras() -> Iterator[Check]:
    for name, module, what in (
        ("openai", "openai", "models behind an endpoint: --policy openai:MODEL"),
        ("api", "fastapi", "mock APIs"),
        ("browser", "playwright", "browser environments"),
        ("train", "torch", "training and embedded models"),
    ):
        yield _extra(name, module, what)
    yield _chromium()
    yield _gpu()


def _extra(name: str, module: str, what: str) -> Check:
    if importlib.util.find_spec(module) is None:
        return Check(name, "missing", f"for {what}", f"pip install 'envkit[{name}]'")
    return Check(name, "ok", f"{module} {importlib.metadata.version(module)}")


def _chromium() -> Check:
    """The system's own, or the one that ENVKIT_CHROMIUM names."""
    named = os.environ.get("ENVKIT_CHROMIUM")
    found = next(filter(None, map(shutil.which, (named,) if named else _CHROMIUMS)), None)
    if found:
        return Check("chromium", "ok", found)
    if named:
        remedy = "name a Chromium, or unset it"
        return Check("chromium", "missing", f"ENVKIT_CHROMIUM {named} is no program", remedy)
    remedy = "scripts/setup browser, or apt install chromium-headless-shell (or chromium)"
    return Check("chromium", "missing", "for browser environments", remedy)


def _gpu() -> Check:
    smi = shutil.which("nvidia-smi")
    names = _output([smi, "--query-gpu=name,memory.total", "--format=csv,noheader"]) if smi else ""
    if not names:
        return Check("gpu", "missing", "no CUDA device; models run on the CPU", "none needed")
    return Check("gpu", "ok", "; ".join(names.splitlines()))


LOOKS: tuple[Callable[[], Iterator[Check]], ...] = (_python, _bubblewrap, _docker, _extras)


# ---- how it is tried -----------------------------------------------------------------------------


def _tried(backend: Literal["docker", "bubblewrap"], detail: str, remedy: str) -> Check:
    """Open a real sandbox and run `true` in it."""
    try:
        notes = asyncio.run(asyncio.wait_for(_true(backend), _SECONDS))
    except MissingError as error:
        return Check(backend, "missing", f"{detail}: {error}", remedy)
    except (EnvkitError, TimeoutError) as error:
        why = str(error) or f"no sandbox within {_SECONDS:g} s"
        return Check(backend, "missing", f"{detail}, but a sandbox does not open: {why}", remedy)
    if notes:
        return Check(backend, "limited", f"{detail}; {'; '.join(notes)}", "run as root")
    return Check(backend, "ok", detail)


async def _true(backend: Literal["docker", "bubblewrap"]) -> tuple[str, ...]:
    async with await open_pool(backend, size=0) as pool:
        async with pool.lease(SandboxSpec(), pack="doctor", group="doctor") as box:
            done = await box.run(("true",), timeout=10.0)
            if done.status != 0:
                raise MissingError(f"`true` ended with status {done.status}")
        return pool.notes


def _engine() -> dict[str, Any]:
    """What the engine says of itself, with the names of its images. Raises MissingError."""
    import docker
    import requests
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=10)
        try:
            info: dict[str, Any] = dict(client.info())
            images = {tag for image in client.api.images() for tag in image.get("RepoTags") or ()}
        finally:
            client.close()
    except (DockerException, requests.RequestException, OSError) as error:
        raise MissingError(f"no container engine answers ({type(error).__name__})") from None
    return {"Runtimes": {}, "ServerVersion": "?", **info, "images": images}


def _output(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
