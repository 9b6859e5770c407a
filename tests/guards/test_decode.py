"""A scan has an end: whatever a content unfolds to, it takes bounded memory, and what was left out is told."""

import base64
import bz2
import gzip
import io
import lzma
import marshal
import random
import sqlite3
import tracemalloc
import zipfile
import zlib
from importlib.util import MAGIC_NUMBER

import pytest

from envkit.guards.scan.compiled import constants
from envkit.guards.scan.decode import MAX_BYTES, MAX_TOTAL, MAX_VIEWS, Room, unfold

NAME = b"db-eu-west-17"


def zipped(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, content in enumerate(members):
            archive.writestr(f"m{number}", content)
    return out.getvalue()


def database(*statements):
    connection = sqlite3.connect(":memory:")
    for statement, *values in (one if isinstance(one, tuple) else (one,) for one in statements):
        connection.execute(statement, values)
    connection.commit()
    image = connection.serialize()
    connection.close()
    return image


def pyc(body):
    return MAGIC_NUMBER + bytes(12) + body


def nested(depth):
    data = [b"x" * 100_000 + b"%d" % number for number in range(12)]
    for _ in range(depth):
        inner = zipped(data)
        data = [inner + b"%d" % number for number in range(12)]
    return data[0]


BOMBS = {
    "zeros": lambda: zlib.compress(bytes(100_000_000), 9),
    "bzip2": lambda: bz2.compress(bytes(50_000_000)),
    "xz": lambda: lzma.compress(bytes(50_000_000)),
    "many members": lambda: zipped(b"%d" % n + bytes(2_000_000) for n in range(60)),
    "columns that are computed": lambda: database(
        "CREATE TABLE big (x, y AS (hex(zeroblob(90000000 + x))))",
        *(("INSERT INTO big VALUES (?)", number) for number in range(2)),
    ),
    "a cell that multiplies": lambda: database(
        "CREATE TABLE big (x, y AS (replace(hex(zeroblob(2000)), '0', hex(zeroblob(900))) || x))",
        *(("INSERT INTO big VALUES (?)", number) for number in range(60)),
    ),
    "one large text": lambda: b"word and 12345 " * 3_000_000,
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_cut_off_and_that_is_told(name):
    bomb, room = BOMBS[name](), Room()
    tracemalloc.start()
    sizes = [len(view.data) for view in unfold(bomb, room=room)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(sizes) <= MAX_BYTES
    assert sum(sizes) <= MAX_TOTAL
    assert len(sizes) <= MAX_VIEWS
    assert peak < 6 * MAX_TOTAL
    assert room.cut


CALM = {
    "a claim of two thousand million items": pyc(b"(" + b"\xff\xff\xff\x7f" + b"N" * 10),
    "a claim of a long text": pyc(b"s" + b"\xff\xff\xff\x7f" + b"abc"),
    "tuples without an end": pyc(b")\x01" * 200_000),
    "itself by reference": pyc(b"\xa9\x01r\0\0\0\0"),
    "a tree of archives": nested(3),
    "many runs": b"\n\n".join(b"%x" % (1 << 80 | n) for n in range(1000)),
    "one run": b"A" * 1_000_000,
    "lines of a run": (b"A" * 12 + b"\n") * 80_000,
}


@pytest.mark.parametrize("name", CALM)
@pytest.mark.timeout(60)
def test_what_claims_to_be_large_or_deep_takes_nothing(name):
    tracemalloc.start()
    views = list(unfold(CALM[name]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert views
    assert peak < 6 * MAX_TOTAL


def test_what_fits_is_not_called_cut_off():
    room = Room()
    content = zipped([b"one", gzip.compress(b"two"), base64.b64encode(b"three and more words")])
    assert len(list(unfold(content, room=room))) > 4
    assert room.cut == {}


def test_a_table_that_can_not_be_read_hides_no_other():
    room = Room()
    image = database(
        "CREATE TABLE a (x, y AS (hex(zeroblob(90000000))))", "INSERT INTO a VALUES (1)",
        "CREATE TABLE b (name TEXT)", ("INSERT INTO b VALUES (?)", NAME.decode()),
    )  # fmt: skip
    assert any(b"name = " + NAME in view.data for view in unfold(image, room=room))
    assert any("table 'a'" in why for why in room.cut)


def test_every_row_is_read_and_the_mode_of_the_file_does_not_matter():
    rows = (("INSERT INTO t VALUES (?, ?)", f"row {n}", f"v{n}") for n in range(3000))
    image = bytearray(database("CREATE TABLE t (a, b)", *rows))
    image[18:20] = b"\2\2"  # as one in WAL mode has it
    assert any(b"row 2999 = v2999" in view.data for view in unfold(bytes(image)))


def test_a_member_that_can_not_be_read_hides_no_other():
    data = bytearray(zipped([random.Random(1).randbytes(100), NAME]))
    data[40] ^= 255  # in the first member's content
    room = Room()
    assert any(view.data == NAME for view in unfold(bytes(data), room=room))
    assert room.cut


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, bz2.compress, lzma.compress])
def test_a_stream_is_found_behind_another_and_inside_something_else(pack):
    data = b"BM" + gzip.compress(b"first") + b"\0\0" + pack(b"see " + NAME) + b"tail"
    assert any(NAME in view.data for view in unfold(data))


@pytest.mark.parametrize(
    "text",
    [
        "id=7" + NAME.hex(),  # one digit too many before it
        base64.b64encode(b"see %s for it" % NAME).decode().rstrip("=") + "\nthanks\n",
        "x" + base64.b64encode(b"see " + NAME + b" there " * 600).decode(),
    ],
)
def test_a_run_is_read_where_it_begins_and_ends_with_something_else(text):
    assert any(NAME in view.data for view in unfold(text.encode()))


def test_what_was_deleted_is_told_from_what_is_there():
    live = database("CREATE TABLE t (a)", ("INSERT INTO t VALUES (?)", NAME.decode()))
    gone = database(
        "PRAGMA secure_delete = OFF", "CREATE TABLE t (a)", ("INSERT INTO t VALUES (?)", NAME.decode()),
        "INSERT INTO t VALUES ('other')", "DELETE FROM t WHERE a <> 'other'",
    )  # fmt: skip
    dropped = database(
        "PRAGMA secure_delete = OFF", "CREATE TABLE t (a)",
        *(("INSERT INTO t VALUES (?)", f"{n} {NAME.decode()} {'x' * 900}") for n in range(40)),
        "DROP TABLE t",
    )  # fmt: skip

    def deleted(image):
        return any(v.chain[:1] == ("sqlite-deleted",) and NAME in v.data for v in unfold(image))

    assert [deleted(image) for image in (live, gone, dropped)] == [False, True, True]


def test_constants_are_what_marshal_reads():
    values = ("text", "größer", b"bytes", 48_213, -7, 1 << 70, 12.5, ("in", ("side",)), "x" * 300)
    code = compile(f"def f(a=({values!r})):\n    return {values!r}\n", "made.py", "exec")
    found = set(constants(marshal.dumps(code)))
    assert {b"text", "größer".encode(), b"bytes", b"48213", b"-7", b"12.5", b"side"} <= found
    assert str(1 << 70).encode() in found
    assert b"x" * 300 in found
