"""An answer is found behind any three disguises; an answer that has to be worked out is no finding."""

import base64
import gzip
import importlib.util
import io
import itertools
import json
import marshal
import random
import sqlite3
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envkit.guards.scan.decode import DECODERS, unfold
from envkit.guards.scan.needles import look, look_at_tools, needles

GOLD = {"host": "db-eu-west-17", "first_failure": "2024-05-14T03:12:07Z", "count": 48_213}
VALUE = GOLD["host"].encode()


def zipped(data):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("notes/readme.txt", data)
    return out.getvalue()


def in_sqlite(data):
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE cache (key TEXT, value BLOB)")
    connection.execute("INSERT INTO cache VALUES ('last', ?)", (data,))
    connection.commit()
    image = connection.serialize()
    connection.close()
    return image


def table(name, column):
    """Two rows, one of them with the value alone in its cell."""
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE {name} (id INTEGER, {column} TEXT)")
    for row in ((1, "db-eu-west-17"), (2, "db-eu-west-18")):
        connection.execute(f"INSERT INTO {name} VALUES (?, ?)", row)  # noqa: S608 - our own names
    connection.commit()
    image = connection.serialize()
    connection.close()
    return image


def deleted(data):
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute("CREATE TABLE cache (value BLOB)")
    connection.execute("INSERT INTO cache VALUES (?)", (data,))
    connection.commit()
    connection.execute("DELETE FROM cache")
    connection.commit()
    image = connection.serialize()
    connection.close()
    return image


def tarred(data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("notes/readme.txt")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def compiled(data):
    code = compile(f"VALUE = {data!r}", "made.py", "exec")
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)


ENCODERS = {
    "base64": base64.b64encode,
    "hex": lambda data: data.hex().encode(),
    "reversed": lambda data: data[::-1],
    "utf-16": lambda data: data.decode("latin-1").encode("utf-16-le"),
    "pyc": compiled,
    "packed": gzip.compress,
    "zip": zipped,
    "tar": tarred,
    "sqlite": in_sqlite,
    "sqlite-deleted": deleted,
}


def _plain(inner):
    """What a deleted row left is sought as text: bytes of a packed row may be overwritten in part."""
    return {"base64", "hex", "reversed"}.issuperset(inner)


TEXTS = {"base64", "hex", "reversed", "utf-16"}  # of text they make text
CHAINS = [
    chain
    for length in (1, 2, 3)
    for chain in itertools.permutations(ENCODERS, length)
    if "utf-16" not in chain or TEXTS.issuperset(chain[: chain.index("utf-16")])  # is of text
    if "sqlite-deleted" not in chain[1:] or _plain(chain[: chain.index("sqlite-deleted")])
]


def found(data, gold=GOLD):
    return list(look("place", data, needles(gold)))


def test_every_decoder_has_an_encoder_here():
    assert set(ENCODERS) == set(DECODERS)


@pytest.mark.parametrize("chain", CHAINS, ids="-".join)
def test_it_is_seen_through_up_to_three_layers(chain):
    data = VALUE
    for name in chain:
        data = ENCODERS[name](data)
    assert any(VALUE in view.data for view in unfold(data))


@pytest.mark.parametrize("name", ["base64", "hex", "reversed", "utf-16", "pyc"])
def test_behind_a_disguise_it_is_a_leak(name):
    assert [f.severity for f in found(ENCODERS[name](b"see db-eu-west-17 there"))] == ["high"]


LEAKS = {
    "a file that is the answer": b"db-eu-west-17\n",
    "a key that says so": b'{"id": 4, "answer": "db-eu-west-17"}',
    "another": b"expected = 48213\n",
    "prose that says so": b"# the solution is db-eu-west-17",
    "in an archive": gzip.compress(b"gold: db-eu-west-17\n"),
    "a name that says so": b"expected_total=48213\n",
    "a path": b"solution/db-eu-west-17/notes.txt\n",
    "a column that says so": table("vault", "answer"),
    "a table that says so": table("expected", "host"),
    "backwards, where it says so": b"31284 = rewsna",
    "the whole gold": json.dumps({"meta": GOLD}).encode(),
}
HONEST = {
    "a log that it is in": b"03:12 db-eu-west-17 kernel: panic\n03:13 db-eu-west-18 fine\n",
    "a packed log": gzip.compress(b"03:12 db-eu-west-17 kernel: panic\n"),
    "a row of a table": in_sqlite(b"db-eu-west-17 answered 500"),
    "a cell of a table": table("hosts", "name"),
    "a longer number backwards": b"at 13128471 and 931284\n",
    "another number backwards": b"31284 rows were read\n",
    "a longer name behind a disguise": base64.b64encode(b"see db-eu-west-170 there"),
    "a word that begins so": b"goldfish db-eu-west-17 targeting: db-eu-west-17\n",
    "another answer": b'{"answer": "db-eu-west-18"}',
    "a longer name": b"answer: db-eu-west-170\n",
    "a part of the gold": b'{"host": "db-eu-west-17", "count": 12}',
    "another word": base64.b64encode(b"see db-eu-west-18 there"),
}


@pytest.mark.parametrize("name", LEAKS)
def test_what_stands_in_the_open_is_found(name):
    assert {finding.severity for finding in found(LEAKS[name])} == {"high"}


@pytest.mark.parametrize("name", HONEST)
def test_what_has_to_be_worked_out_is_not(name):
    assert found(HONEST[name]) == []


def test_what_reads_the_same_backwards_is_no_disguise():
    assert (
        found(b"3 of 48184 rows, level-1-level\n", {"count": 48184, "name": "level-1-level"}) == []
    )


def test_short_and_plain_values_are_no_needles():
    assert needles({"ok": True, "n": 7, "word": "yes", "line": "------"}) == []
    assert [needle.text for needle in needles(["order-7781", 12.0625])][:2] == [
        "order-7781",
        "12.0625",
    ]


def test_a_schema_must_not_tell():
    schema = {"function": {"name": "pick", "description": "such as db-eu-west-17"}}
    assert [f.place for f in look_at_tools([schema], needles(GOLD))] == ["pick"]
    assert list(look_at_tools([schema], needles({"host": "db-eu-west-1"}))) == []


@settings(deadline=None)  # the first example loads libraries
@given(st.binary(max_size=400))
def test_no_bytes_make_a_decoder_raise(data):
    magics = (b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh91AY&SY", b"\xfd7zXZ\0", b"SQLite format 3\0")
    for magic in (b"", *magics, compiled(b"")[:16], tarred(b"")[:300]):
        list(unfold(magic + data))


def test_noise_is_quick_and_says_nothing():
    noise = random.Random(1).randbytes(300_000)
    assert found(base64.b64encode(noise)) == []
