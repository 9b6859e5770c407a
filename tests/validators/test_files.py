"""tree_equal: every file to the byte, and nothing else."""

import hashlib

import pytest
from envkit_validators import Sha256, tree_equal
from hypothesis import given
from hypothesis import strategies as st

from envkit.data.evidence import Evidence, FrozenEvidence, FrozenItem
from envkit.data.task import Blob

WANT: dict[str, str | bytes | Blob | Sha256] = {
    "a.txt": "one\n",
    "bin/b": b"\x00\xff",
    "c": Blob(data=b"c"),
    "d": Sha256(hashlib.sha256(b"d").hexdigest()),
}
RIGHT = {"a.txt": b"one\n", "bin/b": b"\x00\xff", "c": b"c", "d": b"d"}


def frozen(files, *more):
    items = [FrozenItem(name="shell/" + path, data=data) for path, data in files.items()]
    other = FrozenItem(name="store/orders.json", data=b"{}")
    return Evidence(FrozenEvidence(items=(*items, *more, other)))


def test_the_whole_tree_passes():
    assert tree_equal(frozen(RIGHT), "shell/", WANT).passed


@pytest.mark.parametrize(
    "files",
    [
        {},
        {**RIGHT, "a.txt": b"one"},
        {**RIGHT, "a.txt": b"one\r\n"},
        {**RIGHT, "d": b""},
        {**RIGHT, "e": b""},
        {**RIGHT, "bin/b.orig": b"\x00\xff"},
        {path: data for path, data in RIGHT.items() if path != "c"},
        {("A.txt" if path == "a.txt" else path): data for path, data in RIGHT.items()},
    ],
)
def test_any_other_tree_fails(files):
    assert tree_equal(frozen(files), "shell/", WANT).value == 0.0


@pytest.mark.parametrize("kind", ["oversize", "refused"])
def test_what_could_not_be_frozen_is_something_else(kind):
    assert not tree_equal(
        frozen(RIGHT, FrozenItem(name="shell/link", kind=kind)), "shell/", WANT
    ).passed
    rest = {path: data for path, data in RIGHT.items() if path != "c"}
    instead = FrozenItem(name="shell/c", kind=kind, data=b"c", detail="a link")
    check = tree_equal(frozen(rest, instead), "shell/", WANT)
    assert check.reason == f"saw 'c', {kind}: 'a link'"


def test_two_items_of_one_name_fail():
    twice = FrozenItem(name="shell/c", data=b"c")
    assert tree_equal(frozen(RIGHT, twice), "shell/", WANT).reason == "saw 'c' more than once"


def test_ignored_paths_may_hold_anything_or_nothing():
    noise = {"out.log": b"x", "tmp/1": b"", "tmp/deep/2": b""}
    assert tree_equal(frozen(RIGHT | noise), "shell/", WANT, ignore=["out.log", "tmp/"]).passed
    assert tree_equal(frozen(RIGHT), "shell/", WANT, ignore=["out.log"]).passed
    for extra in ("out.log.1", "tmp", "tmpfile", "sub/out.log"):
        seen = frozen({**RIGHT, extra: b""})
        assert not tree_equal(seen, "shell/", WANT, ignore=["out.log", "tmp/"]).passed


@pytest.mark.parametrize(
    ("prefix", "expected", "ignore"),
    [
        ("shell", WANT, ()),
        ("/shell/", WANT, ()),
        ("shell/", {}, ()),
        ("shell/", {"": "x"}, ()),
        ("shell/", {"/etc/passwd": "x"}, ()),
        ("shell/", {"a": "\ud800"}, ()),
        ("shell/", {"a": None}, ()),
        ("shell/", {"a": 3}, ()),
        ("shell/", WANT, ["a.txt"]),
        ("shell/", WANT, ["bin/"]),
        ("shell/", WANT, ["/"]),
        ("shell/", WANT, [""]),
        ("shell/", WANT, "tmp/"),
    ],
)
def test_expectations_that_mean_nothing_are_refused(prefix, expected, ignore):
    with pytest.raises(ValueError, match=r"tree_equal|surrogates"):
        tree_equal(frozen(RIGHT), prefix, expected, ignore=ignore)


@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "a" * 64 + "\n", "sha256:" + "a" * 64])
def test_a_digest_is_one(digest):
    with pytest.raises(ValueError, match="64"):
        Sha256(digest)


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)
TREES = st.dictionaries(
    NAMES | st.sampled_from(["a", "b", "a/b"]), st.binary(max_size=3), max_size=4
)


@given(TREES, TREES)
def test_it_is_equality_of_trees(seen, expected):
    usable = expected and not any(path.startswith("/") for path in expected)
    if usable:
        assert tree_equal(frozen(seen), "shell/", expected).passed == (seen == expected)
        assert tree_equal(frozen(expected), "shell/", expected).passed
