"""26 places to keep a later commit: every one is found, and none survives a rebuild."""

import gzip
import os
import subprocess
import zlib
from pathlib import Path

import pytest

from envkit.errors import UsageError
from envkit.guards.scan.needles import Needle
from envkit.guards.scan.repository import rebuild, scan

FIX = "return total - discount_of_later_7f3a91"
LATER = f"def price(total):\n    {FIX}\n"


def git(folder, *arguments, stdin=None):
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, input=stdin, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "price.py").write_text("def price(total):\n    return total\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Price")
    (folder / "note.txt").write_text("honest past\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Note")
    clean = tmp_path / "clean"
    rebuild(folder, "HEAD", clean)
    assert scan(clean, "HEAD") == [], "nothing is found before something is planted"
    return clean


def later(folder):
    """A commit with the solution that no ref names, made without touching files, index, or logs."""
    blob = git(folder, "hash-object", "-w", "--stdin", stdin=LATER)
    tree = git(folder, "mktree", stdin=f"100644 blob {blob}\tprice.py\n")
    return git(folder, "commit-tree", tree, "-p", "HEAD", "-m", FIX)


def elsewhere(folder):
    """A repository beside it that has the later commit on its main branch."""
    other = folder.parent / "elsewhere"
    git(folder.parent, "clone", "-q", str(folder), str(other))
    git(other, "update-ref", "refs/heads/main", later(other))
    git(other, "reset", "-q", "--hard")
    return other


def ref(name):
    return lambda folder: git(folder, "update-ref", name, later(folder))


def annotated_tag(folder):
    git(folder, "tag", "-a", "v2", "-m", FIX, later(folder))


def packed(folder):
    ref("refs/heads/next")(folder)
    git(folder, "pack-refs", "--all")


def stash(folder):
    (folder / "price.py").write_text(LATER)
    git(folder, "stash")


def notes(folder):
    git(folder, "notes", "add", "-m", FIX)


def replaced(folder):
    git(folder, "replace", git(folder, "rev-parse", "HEAD"), later(folder))


def reflog(folder):
    git(folder, "reset", "-q", "--hard", later(folder))
    git(folder, "reset", "-q", "--hard", "HEAD~1")


def gitfile(name, content=None):
    def plant(folder):
        path = folder / ".git" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"{later(folder)}\n".encode() if content is None else content)

    return plant


def kept_pack(folder):
    name = git(
        folder, "pack-objects", "-q", "--revs", ".git/objects/pack/pack", stdin=later(folder)
    )
    (folder / f".git/objects/pack/pack-{name}.keep").touch()
    git(folder, "prune-packed")


def alternates(folder):
    other = elsewhere(folder)
    (folder / ".git/objects/info/alternates").write_text(f"{other}/.git/objects\n")


def worktree(folder):
    git(folder, "worktree", "add", "-q", "--detach", str(folder.parent / "linked"), later(folder))


def submodule_gitdir(folder):
    git(folder, "clone", "-q", "--bare", str(elsewhere(folder)), ".git/modules/vendored")


def bundle(folder):
    git(elsewhere(folder), "bundle", "create", str(folder / "all.bundle"), "--all")


def staged(folder):
    (folder / "price.py").write_text(LATER)
    git(folder, "add", ".")
    git(folder, "restore", "--worktree", "--source=HEAD", ".")


def left_over(name):
    return lambda folder: (folder / name).write_text(LATER)


PLANTS = {
    "branch": ref("refs/heads/fix"),
    "remote branch": ref("refs/remotes/origin/main"),
    "tag": ref("refs/tags/v2"),
    "annotated tag": annotated_tag,
    "packed ref": packed,
    "refs/original": ref("refs/original/refs/heads/main"),
    "refs/pull": ref("refs/pull/7/head"),
    "refs/bisect": ref("refs/bisect/bad"),
    "refs/replace": replaced,
    "stash": stash,
    "notes": notes,
    "reflog": reflog,
    "ORIG_HEAD": gitfile("ORIG_HEAD"),
    "FETCH_HEAD": gitfile("FETCH_HEAD"),
    "dangling": later,
    "kept pack": kept_pack,
    "alternates": alternates,
    "worktree": worktree,
    "submodule": submodule_gitdir,
    "bundle": bundle,
    "staged": staged,
    "rebase-apply": gitfile("rebase-apply/patch", LATER.encode()),
    "COMMIT_EDITMSG": gitfile("COMMIT_EDITMSG", FIX.encode()),
    "rr-cache": gitfile("rr-cache/ab12/postimage", LATER.encode()),
    "lfs": gitfile("lfs/objects/ab/cd/abcd", gzip.compress(LATER.encode())),
    "patch leftover": left_over("price.py.orig"),
}


def recoverable(folder):
    """Whether the solution is in any file or object under a folder, by looking at all of them."""
    for root, _, names in os.walk(folder):
        for name in names:
            data = Path(root, name).read_bytes()
            for read in (bytes, zlib.decompress, gzip.decompress):
                try:
                    if FIX.encode() in read(data):
                        return True
                except (zlib.error, OSError, EOFError):
                    continue
    return False


def test_there_are_26_places():
    assert len(PLANTS) == 26


@pytest.mark.parametrize("name", PLANTS)
def test_what_is_planted_is_found_and_no_rebuild_keeps_it(name, repository, tmp_path):
    base = git(repository, "rev-parse", "HEAD")
    PLANTS[name](repository)
    assert scan(repository, base), "control: the plant is seen"
    clean = tmp_path / "again"
    assert rebuild(repository, base, clean) == base
    assert scan(clean, base, [Needle("fix", FIX)]) == []
    assert not recoverable(clean)
    assert git(clean, "log", "--format=%s").split() == ["Note", "Price"], "the honest past is kept"
    assert git(clean, "status", "--porcelain") == ""
    assert (clean / "price.py").read_text() == "def price(total):\n    return total\n"


def test_plain_objects_are_recoverable_by_the_controls_own_search(repository):
    assert not recoverable(repository)
    later(repository)
    assert recoverable(repository)


def test_bad_input_is_named(tmp_path, repository):
    with pytest.raises(UsageError, match="no git repository"):
        scan(tmp_path, "HEAD")
    with pytest.raises(UsageError, match="nowhere"):
        rebuild(repository, "nowhere", tmp_path / "x")
    with pytest.raises(UsageError, match="not empty"):
        rebuild(repository, "HEAD", repository)


def test_what_was_not_searched_is_said(repository, monkeypatch):
    monkeypatch.setattr("envkit.guards.scan.repository.MAX_BYTES", 1 << 20)
    (repository / "big.bin").write_bytes(bytes((1 << 20) + 1))
    wanted = [Needle("answer", "wanted-4711")]
    assert [f.place for f in scan(repository, "HEAD", wanted) if f.rule.endswith("-unread")] == [
        "big.bin"
    ]


def test_a_git_that_does_not_end_is_one_clear_error(repository, monkeypatch):
    monkeypatch.setattr("envkit.guards.scan.repository.SECONDS", 1e-6)
    with pytest.raises(UsageError, match="took over 1e-06 seconds"):
        scan(repository, "HEAD")


def test_looking_runs_no_command_of_the_repositorys_own(tmp_path):
    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@a.test")
        done = subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    git("init", "--quiet")
    (tmp_path / "file").write_text("text")
    git("add", "file")
    git("commit", "--quiet", "-m", "one")
    tree = git("rev-parse", "HEAD^{tree}")
    (tmp_path / ".git/objects" / tree[:2] / tree[2:]).unlink()  # what a partial clone would fetch
    ran = tmp_path / "ran"
    for key, value in (
        ("core.repositoryformatversion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.url", str(tmp_path)),
        ("remote.origin.promisor", "true"),
        ("remote.origin.uploadpack", f"touch {ran}; git-upload-pack"),
    ):
        git("config", key, value)
    assert scan(tmp_path, "HEAD")
    assert not ran.exists()
