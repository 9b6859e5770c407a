"""Git repositories: rebuilt so that nothing later than a base commit is in them, and scanned for what should not be.

Rebuild, never scrub: a scrub in place leaves stashes, notes, replaced refs, kept packs, alternates, worktrees, gitdirs
of submodules, bundles, half-done rebases and drafts of messages behind. A rebuilt repository is a fresh one that got
the objects that its base commit needs and nothing else.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from envkit.data.score import Finding
from envkit.errors import MissingError, UsageError
from envkit.guards.scan.needles import Needle, look

BRANCH = "main"
RULE = "leak.git"
SECONDS = 120.0  # for one git command
MAX_BYTES = 8 << 20  # of one file that is looked into
_PLAIN = frozenset({"HEAD", "config", "index", "objects", "refs", "packed-refs"})
"""All that a rebuilt repository has in its .git."""


def rebuild(source: Path, base: str, into: Path) -> str:
    """Make a fresh repository at `into` with `base`, its past and its files; the commit's id, which is kept.

    Raises UsageError where `source` is no repository, has no `base`, or `into` is not empty; MissingError without git.
    """
    if into.exists() and any(into.iterdir()):
        raise UsageError(f"{into} is not empty: name a new folder for the rebuilt repository")
    commit = _git(source, "rev-parse", "--verify", "--end-of-options", f"{base}^{{commit}}")
    commit = commit.strip()
    into.mkdir(parents=True, exist_ok=True)
    _git(into, "init", "--quiet", f"--initial-branch={BRANCH}", "--template=")
    objects = _git(source, "pack-objects", "--quiet", "--revs", "--stdout", stdin=commit + b"\n")
    _git(into, "unpack-objects", "-q", stdin=objects)
    # an id, so that no reflog and no ORIG_HEAD is ever written
    (into / ".git/refs/heads" / BRANCH).write_bytes(commit + b"\n")
    _git(into, "-c", "core.logAllRefUpdates=false", "read-tree", "HEAD")
    _git(into, "-c", "core.hooksPath=/dev/null", "checkout-index", "--quiet", "--all")
    return commit.decode()


def scan(folder: Path, base: str, wanted: Sequence[Needle] = ()) -> list[Finding]:
    """What a worktree and its repositories hold beyond `base` and its past; needles are sought in every byte.

    Raises UsageError where `folder` holds no repository.
    """
    if not (folder / ".git").exists():
        raise UsageError(f"{folder} is no git repository: it has no .git")
    findings = [*_beside(folder, wanted)]
    for gitdir in _gitdirs(folder):
        findings += _strangers(gitdir, folder)
        findings += _later(gitdir, base, folder, wanted)
    return findings


# ---- what lies in the files ----------------------------------------------------------------------


def _beside(folder: Path, wanted: Sequence[Needle]) -> Iterator[Finding]:
    """Bundles and leftovers of patches in the worktree, and needles in any raw file."""
    for path in _files(folder):
        place, data = str(path.relative_to(folder)), _head(path)
        if data.startswith((b"# v2 git bundle", b"# v3 git bundle")):
            yield _finding(place, "a bundle of commits", "delete it")
        if path.suffix in (".orig", ".rej", ".patch", ".diff") and ".git" not in path.parts:
            yield _finding(
                place, "left over from a patch", "delete it, or commit it before the base"
            )
        if wanted and path.stat().st_size > MAX_BYTES:
            seen = f"only its first {MAX_BYTES >> 20} MiB were searched"
            yield Finding(f"{RULE}-unread", "low", place, seen, "leave it out, or look through it")
        yield from look(place, data, wanted)


def _strangers(gitdir: Path, folder: Path) -> Iterator[Finding]:
    """Files in a gitdir that a rebuilt one does not have: drafts, logs, hooks, half-done work, other gitdirs."""
    for path in sorted(gitdir.iterdir()):
        if path.name not in _PLAIN:
            yield _finding(
                str(path.relative_to(folder)), "not in a rebuilt repository", "rebuild it"
            )
    info = gitdir / "objects/info"
    if (info / "alternates").exists():
        where = str((info / "alternates").relative_to(folder))
        yield _finding(where, "objects are borrowed from elsewhere", "rebuild it")


def _gitdirs(folder: Path) -> list[Path]:
    """Every git directory under a folder: its own, those of submodules and nested repositories."""
    heads = (path.parent for path in folder.rglob("HEAD") if path.is_file())
    return sorted({path for path in heads if (path / "objects").is_dir()})


# ---- what lies in the objects --------------------------------------------------------------------


def _later(gitdir: Path, base: str, folder: Path, wanted: Sequence[Needle]) -> Iterator[Finding]:
    """Objects that the base does not need, reachable or not, and refs beside its branch."""
    place = str(gitdir.relative_to(folder))
    try:
        past = _ids(_git(gitdir, "rev-list", "--objects", "--end-of-options", base))
    except UsageError:
        past = set()  # a submodule's repository has no such commit: all of it is beyond the base
    every = _git(
        gitdir, "cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)"
    )
    beyond = [line.split() for line in every.splitlines() if line.split()[0] not in past]
    if beyond:
        kinds = sorted({kind.decode() for _, kind in beyond})
        seen = f"{len(beyond)} objects beyond the base ({', '.join(kinds)}), first {beyond[0][0].decode()}"
        yield _finding(place, seen, "rebuild it from the base")
    for name, _ in beyond if wanted else ():
        content = _git(gitdir, "cat-file", "-p", name.decode())
        yield from look(f"{place}:{name.decode()[:12]}", content[:MAX_BYTES], wanted)
    refs = _git(gitdir, "for-each-ref", "--format=%(refname)").decode().split()
    for ref in refs:
        if ref != f"refs/heads/{BRANCH}":
            yield _finding(f"{place}:{ref}", "a ref beside the base's branch", "rebuild it")


def _ids(listing: bytes) -> set[bytes]:
    return {line.split()[0] for line in listing.splitlines() if line}


# ---- hands ---------------------------------------------------------------------------------------


def _finding(place: str, seen: str, remedy: str) -> Finding:
    return Finding(RULE, "high", place, seen, remedy)


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):  # does not follow links
        for name in sorted(names):
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES)


def _git(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Run git on a repository that is not trusted: no user's or system's settings, no replaced objects."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "none",  # objects that a partial clone lacks are fetched by commands of its config
        "GIT_CONFIG_COUNT": "1",  # the caller named the folder, whoever owns it
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, input=stdin, capture_output=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise MissingError("git is needed: apt-get install git") from None
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"git {' '.join(arguments)[:200]} in {folder}: it took over {SECONDS:g} seconds"
        ) from None
    except NotADirectoryError:
        raise UsageError(f"{folder} is no folder") from None
    if done.returncode:
        why = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UsageError(
            f"git {' '.join(arguments)[:200]} in {folder}: {why[-1] if why else 'failed'}"
        )
    return done.stdout
