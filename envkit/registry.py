"""The registry: which environments are installed, and from a spec to a configured class.

A pack announces itself by the entry-point group `envkit.envs` (name: the pack, value: its top package), and lists
its environments in `envkit.json` inside that package. Listing reads those files and imports nothing. Other
sources of environments (`file:`, `harbor:`, ...) come by the group `envkit.sources`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Protocol

from pydantic import Field, ValidationError

from envkit.data.spec import EnvSpec
from envkit.data.task import Frozen
from envkit.env import Env
from envkit.errors import EnvkitError, SpecError

PACKS = "envkit.envs"
SOURCES = "envkit.sources"
MANIFEST = "envkit.json"
EXTRAS = {"fastapi": "api", "openai": "openai", "playwright": "browser", "torch": "train"}
"""What brings a library that a pack may import."""


class EnvEntry(Frozen):
    """One environment in a pack's `envkit.json`."""

    cls: str = Field(alias="class")  # "package.module:Class"
    version: int
    summary: str = ""
    adapters: tuple[str, ...] = ()
    splits: Mapping[str, int | None] = Field(default_factory=dict)


class Manifest(Frozen):
    """A pack's `envkit.json`."""

    schema_version: Literal[1]
    envs: Mapping[str, EnvEntry]


@dataclass(frozen=True, slots=True)
class Pack:
    """An installed pack: its name, the distribution that brought it, and what it lists."""

    name: str
    dist: str
    package: str
    folder: Path | None
    manifest: Manifest | None
    problem: str = ""  # why it can't be used; the packs beside it still can


@dataclass(frozen=True, slots=True)
class Resolved:
    """A spec made good: the canonical spec, the configured class, and the digest of its source."""

    spec: EnvSpec
    env: type[Env[Any]]
    digest: str  # sha256 over the files that define the environment


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a source loads: the class, and the files that define it, all below one folder."""

    name: str  # canonical, without the scheme: all ways to name an environment give one spec
    env: type[Env[Any]]
    folder: Path
    files: Iterable[Path]


class Source(Protocol):
    """What a scheme must offer: from the name behind the colon to an environment."""

    def load(self, name: str) -> Loaded:
        """Load an environment. Raises SpecError."""
        ...


class FileSource:
    """`file:PATH.py:CLASS`: an environment in a file of its own, for a first try and for tests."""

    def load(self, name: str) -> Loaded:
        """Run the file as a module of its own and take the class from it."""
        path_text, colon, class_name = name.rpartition(":")
        path = Path(path_text).resolve()
        if not colon or not path.is_file():
            raise SpecError(f"file:{name}: no such file; write file:PATH.py:CLASS")
        if "?" in str(path):  # the folder's, for there is none in the spec
            raise SpecError(f"file:{path}: a spec can't name a path with a question mark; move it")
        module_name = f"envkit_file_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
        module = sys.modules.get(module_name)
        if module is None:
            location = importlib.util.spec_from_file_location(module_name, path)
            if location is None or location.loader is None:
                raise SpecError(f"file:{name}: not a Python file")
            module = sys.modules[module_name] = importlib.util.module_from_spec(location)
            try:
                location.loader.exec_module(module)
            except (Exception, SystemExit) as error:
                # whatever a user's module raises is the one thing to report
                sys.modules.pop(module_name, None)
                raise SpecError(f"file:{name}: {_why(error, path.parent)}") from error
        env = _env_class(module, class_name, f"file:{name}")
        return Loaded(f"{path}:{class_name}", env, path.parent, [path])


def packs() -> list[Pack]:
    """Every installed pack, sorted by name, good or broken; imports none of them."""
    return sorted((_read(point) for point in entry_points(group=PACKS)), key=lambda pack: pack.name)


def _read(point: EntryPoint) -> Pack:
    dist = point.dist.name if point.dist else "unknown"
    package = point.value.partition(":")[0]
    try:
        found = importlib.util.find_spec(package.partition(".")[0])  # finds, does not import
        locations = list(found.submodule_search_locations or ()) if found else []
        folder = next(path for path in map(Path, locations) if (path / MANIFEST).is_file())
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_text("utf-8"))
    except StopIteration:
        return Pack(point.name, dist, package, None, None, f"package {package!r} has no {MANIFEST}")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "top level"
        return Pack(point.name, dist, package, None, None, f"{MANIFEST}: {where}: {first['msg']}")
    except (ImportError, ValueError, OSError) as error:
        return Pack(point.name, dist, package, None, None, f"{type(error).__name__}: {error}")
    return Pack(point.name, dist, package, folder, manifest)


def resolve(text: str | EnvSpec) -> Resolved:
    """Load what a spec names. Raises SpecError: not installed, broken, another version, unknown settings."""
    spec = _parsed(text)
    loaded = _from_source(spec) if spec.scheme else _from_pack(spec)
    version = loaded.env.version
    if spec.version is not None and spec.version != version:
        raise SpecError(
            f"{spec}: version {version} is installed; run that one, or install the other"
        )
    configured = _configure(loaded.env, spec)
    path = f"{spec.scheme}:{loaded.name}" if spec.scheme else loaded.name
    return Resolved(replace(spec, path=path, version=version), configured, _digest(loaded))


def _parsed(text: str | EnvSpec) -> EnvSpec:
    """The spec; whoever wrote a pack's name alone is told what it holds."""
    try:
        return EnvSpec.parse(text)
    except SpecError:
        named = next((p.manifest for p in packs() if p.name == text and p.manifest), None)
        if named is None:
            raise
        envs = ", ".join(f"{text}/{name}" for name in sorted(named.envs))
        raise SpecError(f"{text!r} is a pack; name one of its environments: {envs}") from None


def _from_source(spec: EnvSpec) -> Loaded:
    points = [point for point in entry_points(group=SOURCES) if point.name == spec.scheme]
    if not points:
        known = ", ".join(sorted({point.name for point in entry_points(group=SOURCES)})) or "none"
        raise SpecError(f"{spec}: no source is called {spec.scheme!r}; installed: {known}")
    try:
        source: Source = points[0].load()()
    except (Exception, SystemExit) as error:  # a distribution may raise anything on import
        raise SpecError(
            f"{spec}: source {points[0].name!r} ({points[0].value}) does not load:"
            f" {type(error).__name__}: {error}"
        ) from error
    return source.load(spec.path.partition(":")[2])


def _from_pack(spec: EnvSpec) -> Loaded:
    name, _, env_name = spec.path.partition("/")
    installed = packs()
    found = [pack for pack in installed if pack.name == name]
    if not found:
        known = ", ".join(sorted({pack.name for pack in installed})) or "none"
        raise SpecError(
            f"{spec}: no pack is called {name!r}; installed: {known} (pip install the pack)"
        )
    if len(found) > 1:
        dists = " and ".join(sorted(pack.dist for pack in found))
        raise SpecError(f"{spec}: two packs are called {name!r}, from {dists}; uninstall one")
    pack = found[0]
    if pack.manifest is None or pack.folder is None:
        raise SpecError(f"{spec}: pack {name!r} (from {pack.dist}) is broken: {pack.problem}")
    entry = pack.manifest.envs.get(env_name)
    if entry is None:
        known = ", ".join(sorted(pack.manifest.envs)) or "none"
        raise SpecError(f"{spec}: pack {name!r} has no environment {env_name!r}; it has {known}")
    module_name, _, class_name = entry.cls.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        # a pack may raise anything on import; the one who asked gets one line
        why = _why(error, pack.folder)
        raise SpecError(f"{spec}: {module_name} does not import: {why}") from error
    env = _env_class(module, class_name, str(spec))
    return Loaded(spec.path, env, pack.folder, pack.folder.rglob("*"))


def _why(error: BaseException, folder: Path) -> str:
    """What an author's module raised, and on which of its lines."""
    cause = error.__cause__  # before 3.12 a RuntimeError hides what `__set_name__` raised
    if isinstance(cause, EnvkitError):
        error = cause
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    place = f" ({Path(theirs[-1].filename).name}, line {theirs[-1].lineno})" if theirs else ""
    extra = EXTRAS.get(error.name or "") if isinstance(error, ModuleNotFoundError) else None
    remedy = f"; pip install 'envkit[{extra}]'" if extra else ""
    return f"{type(error).__name__}: {error}{place}{remedy}"


def _env_class(module: ModuleType, name: str, place: str) -> type[Env[Any]]:
    cls = getattr(module, name, None)
    if not (isinstance(cls, type) and issubclass(cls, Env)):
        own = [value for value in vars(module).values() if isinstance(value, type)]
        known = [c.__name__ for c in own if issubclass(c, Env) and c.__module__ == module.__name__]
        raise SpecError(f"{place}: no Env class {name!r}; there is {', '.join(known) or 'none'}")
    return cls


def _configure(cls: type[Env[Any]], spec: EnvSpec) -> type[Env[Any]]:
    if not spec.config:
        return cls
    try:
        config = cls.Config.model_validate(dict(spec.config))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        known = ", ".join(cls.Config.model_fields) or "none"
        where = ".".join(map(str, first["loc"]))
        raise SpecError(f"{spec}: setting {where!r}: {first['msg']}; settings: {known}") from error
    return type(
        cls.__name__,
        (cls,),
        {"config": config, "__module__": cls.__module__, "__doc__": cls.__doc__},
    )


def _digest(loaded: Loaded) -> str:
    digest = hashlib.sha256()
    for path in sorted(loaded.files):
        if path.is_file() and path.suffix != ".pyc":
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            place = path.relative_to(loaded.folder).as_posix()  # a move between folders shows
            digest.update(f"{place}\0{content}\n".encode())
    return digest.hexdigest()
