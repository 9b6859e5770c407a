"""What must hold of every validator, for anything that an agent can leave behind.

`TABLE` has one row per validator: how an agent's value meets it, values that are right, and an
oracle that says independently which values are. A validator that is not in the table turns the
first test red.
"""

import json
import math
import string
from collections.abc import Callable
from dataclasses import dataclass

import envkit_validators
import pytest
from envkit_validators import (
    Near,
    all_of,
    any_of,
    exact,
    expect,
    gate,
    lines,
    list_equal,
    matches,
    matches_schema,
    numeric,
    one_of,
    prints,
    returns,
    round_trip,
    set_equal,
    similar,
    state,
    table_equal,
    tree_equal,
    weighted,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envkit.data.evidence import Evidence, FrozenEvidence, FrozenItem
from envkit.data.probe import Reply
from envkit.data.score import Check, passed
from envkit.data.strict import Malformed, Oversize

HELPERS = {
    "Near",
    "Sha256",
    "Slot",
    "allow",
    "expect",
    "forbid",
    "lines",
}  # expectations and readers: they give no check
NAN, INF = float("nan"), float("inf")


class Hostile(str):
    """What only a bug could bring into a judge; even so, none of its code may run."""

    __slots__ = ()

    def _boom(self, *_: object) -> str:
        raise AssertionError("an agent's object was run")

    __eq__ = __repr__ = __str__ = __len__ = __iter__ = strip = casefold = _boom  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


# ---- how an agent's value meets each validator -----------------------------------------------


def same_json(right):
    """An oracle for JSON with exact types: its text, which writes 1, 1.0, true and "1" apart."""

    def oracle(seen):
        if not plain(seen):
            return False
        return json.dumps(seen, sort_keys=True) == json.dumps(right, sort_keys=True)

    return oracle


def plain(seen, depth=0):
    if depth > 60 or isinstance(seen, Hostile):
        return False
    if type(seen) is list:
        return all(plain(item, depth + 1) for item in seen)
    if type(seen) is dict:
        return all(type(key) is str and plain(item, depth + 1) for key, item in seen.items())
    if type(seen) is int:
        return abs(seen) < 10**100
    return (
        seen is None or type(seen) in (bool, str) or (type(seen) is float and math.isfinite(seen))
    )


def is_text(*rights):
    return lambda seen: type(seen) is str and seen.strip() in rights


def about_3(seen):
    if type(seen) in (int, float):
        return abs(seen - 3) <= 0.25 if abs(seen) < 100 else False
    if (
        type(seen) is not str
        or len(seen.strip()) > 40
        or set(seen.strip()) - set("0123456789.+-eE")
    ):
        return False
    try:
        return len(seen.lower().rpartition("e")[2]) < 40 and abs(float(seen) - 3) <= 0.25
    except ValueError:
        return False


def is_code(seen):
    text = seen.strip() if type(seen) is str else ""
    head, dash, tail = text.partition("-")
    letters = len(head) == 2 and set(head) <= set(string.ascii_uppercase)
    return letters and dash == "-" and 1 <= len(tail) <= 3 and set(tail) <= set(string.digits)


def lcs(a, b):
    row = [0] * (len(b) + 1)
    for x in a:
        before, row = row, [0]
        for j, y in enumerate(b):
            row.append(before[j] + 1 if x == y else max(before[j + 1], row[j]))
    return row[-1]


def is_alike(seen):
    text = seen.strip() if type(seen) is str else ""
    return 0 < len(text) <= 2000 and 2 * lcs(text, "abcdefghij") >= 0.9 * (len(text) + 10)


def is_set(seen):
    items = list(seen) if type(seen) in (list, tuple, set, frozenset) else []
    return (
        len(items) == 3 and plain(items) and sorted(map(json.dumps, items)) == ['"a"', "1", "true"]
    )


ROWS = [{"id": 1, "who": "ann"}, {"id": 2, "who": "bob"}]


def is_table(seen):
    if not plain(seen) or type(seen) is not list or len(seen) != 2:
        return False
    for row, id_, who in zip(seen, (1, 2), ("ann", "bob"), strict=True):
        if type(row) is not dict or set(row) != {"id", "who"} or type(row["who"]) is not str:
            return False
        digits = type(row["id"]) is str and row["id"].strip().lstrip("+0") == str(id_)
        if (
            not (digits or (type(row["id"]) is int and row["id"] == id_))
            or row["who"].strip() != who
        ):
            return False
    return True


SCHEMA = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": {"type": "integer", "minimum": 1}},
    "additionalProperties": False,
}


def is_record(seen):
    if not plain(seen) or type(seen) is not dict or set(seen) != {"id"}:
        return False
    return type(seen["id"]) is int and seen["id"] >= 1


def content(seen):
    """What an agent's value is in a file: its bytes, or nothing that could be frozen."""
    if type(seen) is bytes:
        return seen
    return seen.encode("utf-8", "surrogatepass") if type(seen) is str else None


def leave(seen):
    data = content(seen)
    item = FrozenItem(
        name="shell/a", kind="file" if data is not None else "refused", data=data or b""
    )
    return tree_equal(Evidence(FrozenEvidence(items=(item,))), "shell/", {"a": "right\n"})


def reply(seen):
    """What an agent's value is as the return value of its function."""
    if isinstance(seen, Malformed):
        return Reply(ok=False, problem=str(seen))
    if type(seen) is list and len(seen) == 2 and seen[0] is seen[1] and type(seen[0]) is list:
        return Reply(ok=False, problem="sharing does not survive a pipe: written out it has no end")
    try:
        return Reply(ok=True, stdout=json.dumps(seen))
    except (TypeError, ValueError, RecursionError, AssertionError):
        return Reply(ok=True, stdout=seen if type(seen) is str else "")


def through(asking, answers):
    """Drive a generator whose probes are answered in order."""
    try:
        probes = next(asking)
        while True:
            probes = asking.send([answers.pop(0) for _ in probes])
    except StopIteration as done:
        return done.value


def answer(seen):
    return through(
        returns({"m.py": ""}, "m.py", "f", [((1,), "x"), ((2,), [2, True])]),
        [reply("x"), reply(seen)],
    )


def decode(seen):
    pair = round_trip(
        {"m.py": ""}, "m.py", ("e", "d"), ["x", [2, True]], form=lambda _, code: passed()
    )
    return through(pair, [reply("1"), reply("2"), reply("x"), reply(seen)])


def say(seen):
    told = seen if type(seen) is str else ""
    return through(
        prints({"m.py": ""}, ["m"], [("1", "x"), ("2", "yes")]),
        [Reply(ok=True, stdout="x"), Reply(ok=True, stdout=told)],
    )


@dataclass(frozen=True)
class Row:
    name: str
    check: Callable[[object], Check]
    right: tuple[object, ...]
    is_right: Callable[[object], bool]


LIST = [1, "a", True]
DOC = {"a": [1, True, None], "b": {"c": 2.5}}


def changed(seen: object) -> Check:
    """A log in which one row was inserted that holds what was seen."""
    if isinstance(seen, Malformed):
        return state(seen, expect.inserted("t", x="right"))
    row = {"id": 1, "x": seen}
    change = {"table": "t", "key": {"id": 1}, "op": "insert", "before": None, "after": row}
    return state({"changes": [change], "fault": ""}, expect.inserted("t", x="right"))


TABLE = [
    Row("exact", lambda x: exact(x, "node-7"), ("node-7", " node-7\n"), is_text("node-7")),
    Row("exact", lambda x: exact(x, DOC), (DOC,), same_json(DOC)),
    Row("exact", lambda x: exact(x, 1), (1,), same_json(1)),
    Row("state", changed, ("right",), lambda x: type(x) is str and x == "right"),
    Row(
        "exact",
        lambda x: exact(x, b"\x00a"),
        (b"\x00a",),
        lambda x: type(x) is bytes and x == b"\x00a",
    ),
    Row(
        "exact",
        lambda x: exact(x, "Yes", ignore_case=True),
        ("yes", "YES "),
        lambda x: type(x) is str and x.strip().casefold() == "yes",
    ),
    Row(
        "exact",
        lambda x: exact(x, Near(3.0, abs_tol=0.25)),
        (3, 3.2),
        lambda x: type(x) is not str and about_3(x),
    ),
    Row("numeric", lambda x: numeric(x, 3, abs_tol=0.25), (3, 3.0, "3.1", " 3e0\n"), about_3),
    Row(
        "one_of",
        lambda x: one_of(x, ["a", "b", 3]),
        ("a", "b ", 3),
        lambda x: is_text("a", "b")(x) or same_json(3)(x),
    ),
    Row("matches", lambda x: matches(x, "[A-Z]{2}-[0-9]{1,3}"), ("AB-1", "XY-123\n"), is_code),
    Row(
        "similar",
        lambda x: similar(x, "abcdefghij", threshold=0.9),
        ("abcdefghij", "abcdefghi"),
        is_alike,
    ),
    Row("list_equal", lambda x: list_equal(x, LIST), (LIST,), same_json(LIST)),
    Row("set_equal", lambda x: set_equal(x, LIST), (LIST, [True, 1, "a"]), is_set),
    Row("table_equal", lambda x: table_equal(x, ROWS), (ROWS,), is_table),
    Row(
        "table_equal",
        lambda x: table_equal(x, ROWS, key=("id",)),
        (ROWS, ROWS[::-1]),
        lambda x: is_table(x) or (type(x) is list and is_table(x[::-1])),
    ),
    Row("matches_schema", lambda x: matches_schema(x, SCHEMA), ({"id": 1}, {"id": 7}), is_record),
    Row("tree_equal", leave, ("right\n", b"right\n"), lambda x: content(x) == b"right\n"),
    Row("returns", answer, ([2, True],), lambda x: reply(x).stdout == "[2, true]"),
    Row("round_trip", decode, ([2, True],), lambda x: reply(x).stdout == "[2, true]"),
    Row("prints", say, ("yes", "yes\n"), is_text("yes")),
    Row("all_of", lambda x: all_of(exact(x, 1), numeric(x, 1)), (1,), same_json(1)),
    Row(
        "any_of",
        lambda x: any_of(exact(x, 1), exact(x, "a")),
        (1, "a"),
        lambda x: same_json(1)(x) or is_text("a")(x),
    ),
    Row("weighted", lambda x: weighted((2, exact(x, 1)), (1, numeric(x, 1))), (1,), same_json(1)),
    Row("gate", lambda x: gate(numeric(x, 1), exact(x, 1)), (1,), same_json(1)),
]
IDS = [f"{row.name}-{i}" for i, row in enumerate(TABLE)]
each_row = pytest.mark.parametrize("row", TABLE, ids=IDS)


def test_every_validator_is_in_the_table():
    assert {row.name for row in TABLE} == set(envkit_validators.__all__) - HELPERS
    assert set(envkit_validators.__all__) >= HELPERS


def test_the_public_names_are_sorted_and_there():
    names = envkit_validators.__all__
    assert names == sorted(set(names))
    assert all(hasattr(envkit_validators, name) for name in names)


# ---- what an agent can leave behind ----------------------------------------------------------

TEXT = st.text(
    st.characters(exclude_categories=[]), max_size=30
)  # surrogates and control characters too
NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from([0, 1, -0.0, NAN, INF, -INF, 10**400, 1e308, 2.75, 3.25])
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
BROKEN = st.builds(Malformed, TEXT, TEXT) | st.builds(Oversize, TEXT, TEXT)
ODD = st.sampled_from(
    [
        *(
            object(),
            type,
            print,
            1j,
            Hostile("node-7"),
            [Hostile("a")],
            {1: 2},
            {None: 1},
            (1, 2),
            {1, 2},
        ),
        *(
            b"",
            b"\xff" * 99,
            bytearray(b"a"),
            frozenset("ab"),
            range(3),
            Near(1.0, abs_tol=1.0),
            ...,
        ),
    ]
)


def mutants(right):
    """Values close to a right one: wrapped, doubled, surrounded, of another type."""
    near = [
        right,
        [right],
        [right, right],
        {"a": right},
        (right,),
        {"answer": right, "other": right},
    ]
    if type(right) in (str, bytes, list):
        near += [right + right, right[:-1], right[::-1], right * 3]
    if type(right) is str:
        near += [
            f" {right}\n",
            f"{right} {right}",
            f"x{right}",
            f"{right},x",
            right.upper(),
            right.encode(),
            right + "\x00",
        ]
    if type(right) is list:
        near += [
            tuple(right),
            [*right, None],
            [*right, right[0]],
            json.dumps(right),
            right[1:] + right[:1],
        ]
    if type(right) is dict:
        near += [
            {**right, "more": 1},
            list(right.items()),
            json.dumps(right),
            {k: [v] for k, v in right.items()},
        ]
    if type(right) in (int, float, bool):
        near += [
            float(right),
            int(right),
            bool(right),
            str(right),
            right + 1,
            -right,
            right + 1e-9,
            f"{right} {right}",
        ]
    return near


def seen_by(row):
    close = [mutant for right in row.right for mutant in mutants(right)]
    return VALUES | BROKEN | ODD | st.sampled_from(close)


def assert_sound(check):
    assert type(check) is Check
    assert math.isfinite(check.value)
    assert 0.0 <= check.value <= 1.0
    assert check.reason.isprintable()
    assert 0 < len(check.reason) < 2_000
    check.reason.encode("utf-8")


@each_row
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_check_comes_of_anything_and_is_full_for_what_is_right_alone(row, data):
    seen = data.draw(seen_by(row))
    check = row.check(seen)
    assert_sound(check)
    assert check.passed == bool(row.is_right(seen)), check


@each_row
def test_what_is_right_passes(row):
    for right in row.right:
        assert row.is_right(right)
        assert row.check(right).passed


@each_row
@given(seen=BROKEN)
def test_malformed_fails_with_its_reason(row, seen):
    check = row.check(seen)
    assert_sound(check)
    assert check.value == 0.0


ALL_TEXTS = ["node-7", "a", "b", "AB-1", "abcdefghij", "right\n", "yes", "x", "3", "1"]
HOLLOW: list = [
    *(
        None,
        "",
        " ",
        "\n",
        b"",
        [],
        {},
        (),
        set(),
        [None],
        [[]],
        [{}],
        {"": ""},
        "null",
        "[]",
        "{}",
        "\x00",
        "\ufeff",
    ),
    *(
        NAN,
        INF,
        -INF,
        [NAN],
        {"id": NAN},
        {"id": INF},
        [{"id": NAN, "who": NAN}],
        "nan",
        "NaN",
        "inf",
        "Infinity",
    ),
    *(
        " ".join(ALL_TEXTS),
        "\n".join(ALL_TEXTS),
        "".join(ALL_TEXTS),
        ",".join(ALL_TEXTS),
        ALL_TEXTS,
    ),
    *(
        "1 2 3",
        "3 4 5",
        "3,3",
        "0123456789" * 4,
        list(range(1000)),
        string.printable,
        dict.fromkeys(ALL_TEXTS, 1),
    ),
    *(
        [1, "a", True, None],
        [1, "a", True, True],
        [1, "a", True] * 2,
        [*ROWS, {"id": 3, "who": "eve"}],
        ROWS * 2,
    ),
    *(
        {**DOC, "more": 1},
        [DOC],
        [DOC, DOC],
        {"id": 1, "answer": 1},
        [2, True, 2, True],
        "yes no",
        "a b 3",
    ),
    *(
        {"answers": [[2, True], "x"]},
        "x yes",
        True,
        False,
        0,
        -1,
        1e308,
        "*",
        ".*",
        "%",
        "{}{}",
        "__class__",
    ),
]


@each_row
@pytest.mark.parametrize("seen", HOLLOW, ids=lambda value: repr(value)[:40])
def test_hollow_answers_are_never_full(row, seen):
    check = row.check(seen)
    assert_sound(check)
    assert check.value < 1.0


def nested(depth, wrap):
    value = 1
    for _ in range(depth):
        value = wrap(value)
    return value


def loop():
    value: list = []
    value.append(value)
    return value


def wide_loop():
    value: dict = {}
    value.update(a=value, b=[value, value])
    return value


POISON = {
    "open words": "a" * 40 + "!",
    "words": ("a" * 30 + " ") * 30_000 + "!",
    "letters": "a" * 5_000_000,
    "spaces": " " * 5_000_000 + "x",
    "text for difflib": "ab" * 30_000,
    "text at the cap": ("ab" * 1_000)[:2_000],
    "a decimal": "1e99999999",
    "a fraction": "1e9999999/3",
    "digits": "9" * 1_000_000,
    "dots": "." * 1_000_000,
    "signs": "+-" * 500_000,
    "an int": 10**20_000,
    "a negative int": -(10**20_000),
    "ints that hash alike": [i * (2**61 - 1) for i in range(20_000)],
    "many rows": [{"id": i, "who": "ann"} for i in range(50_000)],
    "many keys": {str(i): i for i in range(100_000)},
    "a long key": {"k" * 1_000_000: ["v"] * 1_000},
    "a deep list": nested(100_000, lambda value: [value]),
    "a deep object": nested(100_000, lambda value: {"a": value}),
    "a list in itself": loop(),
    "an object in itself": wide_loop(),
    "shared twice, 200 deep": nested(200, lambda value: [value, value]),
    "shared twice, 60 deep": nested(60, lambda value: [value, value]),
    "surrogates": "\ud800" * 100_000,
    "case folding": "\u0390" * 1_000_000,
    "combining marks": "e" + "\u0301" * 1_000_000,
    "bytes": b"\xff" * 5_000_000,
    "json": "[" * 500_000,
}


@pytest.mark.timeout(20)
@each_row
@pytest.mark.parametrize("name", POISON)
def test_poison_ends_with_a_score(row, name):
    check = row.check(POISON[name])
    assert_sound(check)
    assert check.value < 1.0


@settings(deadline=None)
@given(VALUES | BROKEN | ODD)
def test_lines_are_stripped_texts_or_malformed(seen):
    read = lines(seen)
    if isinstance(read, Malformed):
        assert type(seen) is not str or not seen.strip()
    else:
        assert "\n".join(read).split() == seen.split()
        assert all(line == line.strip() for line in read)
