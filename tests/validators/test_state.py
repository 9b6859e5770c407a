"""`state`: the right log passes, any change more fails, any change less fails."""

import copy
import itertools
import json

import pytest
from envkit_validators import Near, allow, any_of, expect, forbid, state
from envkit_validators._pairs import placed
from hypothesis import given, settings
from hypothesis import strategies as st

from envkit.adapters.store import log as log_module
from envkit.data.strict import Malformed


def change(table, key, before, after, **more):
    """A change as the log has it; `before` and `after` are the row's other columns."""
    key = {"id": key} if isinstance(key, int | str) else key
    op = "insert" if before is None else "delete" if after is None else "update"
    rows = {
        name: None if row is None else {**key, **row}
        for name, row in (("before", before), ("after", after))
    }
    return {
        "table": table,
        "key": key,
        "op": op,
        **rows,
        "actor": "agent",
        "at": "",
        "step": 1,
        **more,
    }


def log(*changes, fault=""):
    return {"changes": list(changes), "fault": fault}


PAID = {"status": "paid", "total": 5.0, "updated_at": "mon"}
CANCELLED = {"status": "cancelled", "total": 5.0, "updated_at": "mon"}
CANCEL = change("orders", 7, PAID, CANCELLED)
REFUND = change("refunds", 1, None, {"order_id": 7, "amount": 1999, "note": "sorry"})
EMPTIED = change("carts", 3, {"owner": "ann"}, None)
RIGHT = log(CANCEL, REFUND, EMPTIED)
CLAUSES = (
    expect("orders", id=7, status="cancelled"),
    expect.inserted("refunds", order_id=7, amount=1999),
    expect.deleted("carts", id=3),
    allow("audit", insert=True, most=2),
    allow("orders", id=7, columns=("updated_at",)),
    forbid("payments"),
)


def audit(number):
    return change("audit", number, None, {"text": "x"})


def test_the_right_log_passes_in_any_order_and_with_what_is_allowed():
    assert state(RIGHT, *CLAUSES).passed
    assert state(log(*RIGHT["changes"][::-1], audit(1), audit(2)), *CLAUSES[::-1]).passed
    touched = change("orders", 7, PAID, {**CANCELLED, "updated_at": "tue"})
    assert state(log(touched, REFUND, EMPTIED), *CLAUSES).passed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([], "expected orders id=7 status='cancelled' in the end, saw no change there"),
        ([REFUND, EMPTIED], "expected orders id=7"),
        (
            [CANCEL, EMPTIED],
            "expected refunds order_id=7 amount=1999 to be inserted, saw no change",
        ),
        ([CANCEL, REFUND], "expected carts id=3 to be deleted"),
        (
            [change("orders", 7, PAID, {**PAID, "status": "sent"}), REFUND, EMPTIED],
            "orders id=7, status: saw 'sent', expected 'cancelled'",
        ),
        (
            [change("orders", 7, PAID, {**CANCELLED, "total": 0.0}), REFUND, EMPTIED],
            "collateral damage: orders id=7 was changed (total from 5.0 to 0.0)",
        ),
        (
            [CANCEL, REFUND, EMPTIED, change("orders", 8, PAID, CANCELLED)],
            "collateral damage: orders id=8 was changed (status from 'paid' to 'cancelled')",
        ),
        (
            [CANCEL, REFUND, EMPTIED, change("refunds", 2, None, {"order_id": 7, "amount": 1999})],
            "collateral damage: refunds id=2 was inserted",
        ),
        ([CANCEL, REFUND, EMPTIED, change("carts", 4, {}, None)], "carts id=4 was deleted"),
        ([CANCEL, REFUND, EMPTIED, audit(1), audit(2), audit(3)], "audit id=3 was inserted"),
        (
            [CANCEL, REFUND, EMPTIED, change("audit", 1, {"text": "a"}, None)],
            "audit id=1 was deleted",
        ),
        (
            [CANCEL, change("refunds", 1, None, {"order_id": 7, "amount": 1}), EMPTIED],
            "expected refunds order_id=7 amount=1999 to be inserted, saw refunds id=1 was inserted",
        ),
        (
            [change("orders", 7, PAID, None), REFUND, EMPTIED],
            "collateral damage: orders id=7 was deleted",
        ),
        ([change("orders", 7, None, CANCELLED), REFUND, EMPTIED], "orders id=7 was inserted"),
        (
            [
                *RIGHT["changes"],
                change("payments", 1, {"a": 1}, {"a": 2}),
                change("payments", 1, {"a": 2}, {"a": 1}),
            ],
            "forbidden: payments id=1 was changed",
        ),
    ],
)
def test_a_wrong_log_fails_and_says_what_is_wrong(changes, reason):
    check = state(log(*changes), *CLAUSES)
    assert check.value == 0.0
    assert reason in check.reason


def test_what_was_undone_exactly_is_no_damage():
    there = change("orders", 9, PAID, CANCELLED)
    back = change("orders", 9, CANCELLED, PAID)
    came, went = change("notes", 1, None, {"t": "a"}), change("notes", 1, {"t": "a"}, None)
    assert state(log(there, CANCEL, came, back, REFUND, EMPTIED, went), *CLAUSES).passed
    almost = change("orders", 9, CANCELLED, {**PAID, "total": 5})  # 5.0 before
    assert "total from 5.0 to 5" in state(log(*RIGHT["changes"], there, almost), *CLAUSES).reason


def test_a_row_that_was_replaced_counts_as_what_it_became():
    gone = change("orders", 7, PAID, None)
    again = change("orders", 7, None, CANCELLED)
    assert state(log(gone, again, REFUND, EMPTIED), *CLAUSES).passed


def test_keys_of_several_columns():
    key = {"order_id": 7, "sku": "pen"}
    line = change("lines", key, {"count": 1}, {"count": 2})
    assert state(log(line), expect("lines", order_id=7, sku="pen", count=2)).passed
    assert not state(log(line), expect("lines", order_id=7, count=2)).passed, (
        "half a key names no row"
    )
    only_key = state(log(line), expect("lines", order_id=7, sku="pen"))
    assert "names nothing but the key" in only_key.reason


# ---- which row is which ----


def paid(number, amount, **more):
    return change("refunds", number, None, {"order_id": 7, "amount": amount, **more})


def test_each_expectation_needs_a_row_of_its_own_whichever_way_they_fit():
    wide = expect.inserted("refunds", order_id=7)
    narrow = expect.inserted("refunds", order_id=7, amount=5)
    for rows in ([paid(1, 5), paid(2, 9)], [paid(2, 9), paid(1, 5)]):
        assert state(log(*rows), wide, narrow).passed
        assert state(log(*rows), narrow, wide).passed
    assert not state(log(paid(1, 5)), wide, narrow).passed
    assert not state(log(paid(1, 9), paid(2, 9)), wide, narrow).passed
    assert not state(log(paid(1, 5), paid(2, 9), paid(3, 9)), wide, narrow).passed
    assert state(log(paid(1, 5), paid(2, 5)), narrow, narrow).passed, (
        "the same one twice means two rows"
    )
    assert not state(log(paid(1, 5)), narrow, narrow).passed


def test_what_is_expected_leaves_the_room_of_what_is_allowed_to_others():
    few = allow("refunds", insert=True, most=1, order_id=7)
    narrow = expect.inserted("refunds", amount=5)
    for rows in ([paid(1, 5), paid(2, 9)], [paid(2, 9), paid(1, 5)]):
        assert state(log(*rows), few, narrow).passed
        assert state(log(*rows), narrow, few).passed
    assert not state(log(paid(1, 5), paid(2, 9), paid(3, 9)), few, narrow).passed


def test_room_for_changed_rows():
    rows = [change("orders", n, PAID, {**PAID, "updated_at": "tue"}) for n in (1, 2, 3)]
    columns = ("updated_at",)
    assert state(log(*rows), allow("orders", columns=columns)).passed
    assert state(log(*rows), allow("orders", columns=columns, most=3)).passed
    assert "orders id=3" in state(log(*rows), allow("orders", columns=columns, most=2)).reason
    assert not state(log(*rows), allow("orders", columns=columns, status="sent")).passed
    assert not state(log(*rows), allow("orders", columns=("status",))).passed
    assert not state(log(*rows), allow("orders", insert=True), allow("orders", delete=True)).passed


def test_room_for_changed_rows_goes_to_whom_it_fits_in_any_order():
    told = change("orders", 7, PAID, {**PAID, "status": "told"})
    moved = change("orders", 8, PAID, {**PAID, "updated_at": "tue"})
    both = change("orders", 9, PAID, {**PAID, "status": "told", "updated_at": "tue"})
    wide = allow("orders", columns=("status", "updated_at"), most=1)
    narrow = allow("orders", columns=("status",), most=1)
    other = allow("orders", columns=("updated_at",), most=1)
    mine = expect("orders", id=7, status="told")
    any_number = allow("orders", columns=("status",))
    for clauses in ((wide, narrow), (wide, mine), (wide, any_number)):
        for rows in itertools.permutations((told, moved)):
            assert state(log(*rows), *clauses).passed
            assert state(log(*rows), *reversed(clauses)).passed
        assert not state(log(told, moved, both), *clauses).passed
    assert state(log(both), narrow, other).passed, "two clauses together"
    assert state(log(told, moved, both), narrow, other, wide).passed
    assert not state(log(told, moved, both), narrow, other).passed


def test_a_long_chain_of_rows_that_make_room_for_each_other():
    """Each row fits two clauses; the last makes all of the others move up."""
    many = 2_000
    wishes = [(n, n + 1) for n in range(many)] + [(0,)]
    assert placed(wishes, [1] * (many + 1)) == [*range(1, many + 1), 0]
    assert None in placed([*wishes, (0,)], [1] * (many + 1))
    assert placed([(0, 1), (0,), (0,)], [2, 1]) == [1, 0, 0]


def test_a_thousand_rows_are_judged_quickly():
    rows = [paid(n, n % 7) for n in range(700)]
    clauses = [expect.inserted("refunds", amount=n % 7) for n in range(100)]
    assert "and 596 more" in state(log(*rows), *clauses).reason
    assert state(log(*rows), *clauses, allow("refunds", insert=True, most=600)).passed
    assert not state(log(*rows), *clauses, allow("refunds", insert=True, most=599)).passed


# ---- forbidden ----


def test_forbidden_rows():
    there, back = change("orders", 9, PAID, CANCELLED), change("orders", 9, CANCELLED, PAID)
    for clause in (
        forbid("orders"),
        forbid("orders", id=9),
        forbid("orders", status="cancelled"),
        forbid("*"),
    ):
        assert state(log(), clause).passed
        assert "forbidden: orders id=9 was changed" in state(log(there, back), clause).reason
    for clause in (forbid("orders", id=8), forbid("users"), forbid("orders", status="x")):
        assert state(log(there, back), clause).passed


# ---- types ----


@pytest.mark.parametrize(
    ("expected", "seen", "same"),
    [
        (1, 1, True), (1, 1.0, False), (1, True, False), (1, "1", False), (1.0, 1.0, True), (1.0, 1, False),
        (0, False, False), (0, None, False), (None, None, True), (None, 0, False), (None, "", False),
        ("a", "a", True), ("a", "a ", False), ("a", "A", False), ("1", 1, False),
        (Near(2.0, abs_tol=0.5), 2.25, True), (Near(2.0, abs_tol=0.5), 3, False), (Near(1.0, abs_tol=0.5), True, False),
        (b"\xff", {"base64": "/w=="}, True), (b"\xff", "\xff", False), (b"", {"base64": ""}, True),
    ],
)  # fmt: skip
def test_cells_are_compared_strictly(expected, seen, same):
    entry = change("t", 1, {"x": "before"}, {"x": seen})
    assert state(log(entry), expect("t", id=1, x=expected)).passed == same
    made = change("t", 1, None, {"x": seen})
    assert state(log(made), expect.inserted("t", x=expected)).passed == same


# ---- several ends ----


def test_any_of_several_ends_will_do():
    cancelled = (expect("orders", id=7, status="cancelled"), expect("orders", id=7, status="void"))
    for end in ("cancelled", "void"):
        seen = log(change("orders", 7, PAID, {**PAID, "status": end}))
        assert any_of(*(state(seen, clause) for clause in cancelled)).passed
    lost = log(change("orders", 7, PAID, {**PAID, "status": "lost"}))
    assert not any_of(*(state(lost, clause) for clause in cancelled)).passed


# ---- what an author gets wrong ----


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: state(RIGHT), "task without criteria"),
        (lambda: state(Malformed("a", "b")), "task without criteria"),
        (lambda: expect("orders", id=7), "the key and the value of another column"),
        (lambda: expect.deleted("carts"), "to say which row"),
        (lambda: expect("", id=7, x=1), "name of a table"),
        (lambda: expect(7, id=7, x=1), "name of a table"),
        (lambda: expect("t", id=7, paid=True), "keeps no booleans; write 1"),
        (lambda: expect("t", id=7, x=float("nan")), "not a finite number"),
        (lambda: expect("t", id=7, x=[1]), "no cell"),
        (lambda: expect("t", id=7, x=object()), "can't be expected"),
        (lambda: allow("t"), "needs one of"),
        (lambda: allow("t", insert=True, delete=True), "needs one of"),
        (lambda: allow("t", columns=("a",), insert=True), "needs one of"),
        (lambda: allow("t", columns="a"), r"write \('a',\)"),
        (lambda: allow("t", insert=True, most=0), "at least 1"),
        (lambda: allow("t", insert=True, most=True), "at least 1"),
        (lambda: forbid(""), "name of a table"),
    ],
)
def test_what_an_author_gets_wrong_is_said_at_once(wrong, said):
    with pytest.raises(ValueError, match=said):
        wrong()


def test_only_clauses_are_clauses():
    with pytest.raises(TypeError, match="state takes expect, allow and forbid, not dict"):
        state(RIGHT, {"orders": 7})


# ---- what an agent can leave ----

BAD = [
    None, 7, "x", [], {}, {"changes": []}, {"changes": {}, "fault": ""}, {"changes": [], "fault": None},
    log(fault="the change log is full"), log(fault=["x"]), log(None), log({}), log({"table": "t"}),
    log({**CANCEL, "op": "merge"}), log({**CANCEL, "op": ["update"]}), log({**CANCEL, "key": {}}),
    log({**CANCEL, "key": 7}), log({**CANCEL, "key": {"id": 8}}), log({**CANCEL, "key": {"nr": 7}}),
    log({**CANCEL, "before": None}), log({**CANCEL, "op": "insert"}), log({**CANCEL, "op": "delete"}),
    log({**CANCEL, "after": {"id": 7}}), log({**CANCEL, "table": 3}), log(CANCEL, CANCEL),
    log(REFUND, REFUND), log(EMPTIED, EMPTIED), log({k: v for k, v in CANCEL.items() if k != "after"}),
    {"changes": [CANCEL] * 2, "fault": ""}, {"changes": float("nan"), "fault": ""},
    Malformed("store/changes.json", "missing"),
]  # fmt: skip


@pytest.mark.parametrize("seen", BAD, ids=range(len(BAD)))
def test_a_log_that_is_none_fails_with_a_reason(seen):
    for clauses in (CLAUSES, (forbid("nothing"),), (allow("orders", columns=("status",)),)):
        check = state(seen, *clauses)
        assert check.value == 0.0
        assert check.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "table": st.sampled_from(["orders", "refunds"]) | JSON,
        "key": st.sampled_from([{"id": 7}, {"id": 1}]) | JSON,
        "op": st.sampled_from(["insert", "update", "delete"]) | JSON,
        "before": st.sampled_from([None, {"id": 7}, {"id": 7, "status": "paid"}]) | JSON,
        "after": st.sampled_from([None, {"id": 7}, {"id": 7, "status": "cancelled"}]) | JSON,
    },
)
ANYTHING = JSON | st.fixed_dictionaries(
    {"changes": st.lists(ENTRIES, max_size=3) | JSON, "fault": st.just("") | JSON}
)


@given(ANYTHING)
def test_it_is_total(seen):
    check = state(seen, *CLAUSES)
    assert check.value == 0.0
    assert check.reason


# ---- the right log passes, one change more or less fails ----

VALUES = st.integers(-2, 2) | st.sampled_from(["a", "b", None, 1.5])
ROWS = st.fixed_dictionaries({"x": VALUES, "y": VALUES})
TABLES = st.sampled_from(["s", "t"])
ALL = [(table, key) for table in ("s", "t") for key in range(3)]


@st.composite
def worlds(draw):
    """Rows before and after, as {(table, key): row or None}, and those that differ."""
    before = {place: draw(st.none() | ROWS) for place in ALL}
    after = {place: draw(st.just(row) | st.none() | ROWS) for place, row in before.items()}
    wanted = [place for place in ALL if differ(before[place], after[place])]
    return before, after, wanted


def differ(one, other):
    return json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True)


def step(place, before, after):
    return change(place[0], place[1], before, after)


def clause_for(place, before, after):
    table, key = place
    if before is None:
        return expect.inserted(table, id=key, **after)
    if after is None:
        return expect.deleted(table, id=key, **before)
    return expect(table, id=key, **{c: after[c] for c in after if differ(before[c], after[c])})


@st.composite
def judged(draw):
    """A log that leads from one world to another by detours, and the clauses that want just that."""
    before, after, wanted = draw(worlds())
    entries = []
    for place in ALL:
        here = before[place]
        for stop in [*draw(st.lists(st.none() | ROWS, max_size=2)), after[place]]:
            if differ(here, stop):
                entries.append(step(place, here, stop))
                here = stop
    clauses = [clause_for(place, before[place], after[place]) for place in wanted]
    return before, after, wanted, entries, [*clauses, forbid("minefield")]


@settings(max_examples=150, deadline=None)
@given(judged(), st.data())
def test_one_change_more_or_less_fails(case, data):
    before, after, wanted, entries, clauses = case
    assert state(log(*entries), *clauses).passed

    place = data.draw(st.sampled_from([*ALL, ("u", 1)]), label="one row more")
    other = data.draw(st.none() | ROWS, label="what becomes of it")
    here = after.get(place)
    if differ(here, other):
        more = state(log(*entries, step(place, here, other)), *clauses)
        undone = place in wanted and not differ(before.get(place), other)
        assert not more.passed
        assert undone or place not in wanted or f"id={place[1]}" in more.reason
        assert "expected" in more.reason or "collateral damage" in more.reason

    if wanted:
        less = data.draw(st.sampled_from(wanted), label="one row less")
        kept = [e for e in entries if (e["table"], e["key"]["id"]) != less]
        assert "expected" in state(log(*kept), *clauses).reason
        without = [c for c, p in zip(clauses, wanted, strict=False) if p != less]
        assert "collateral damage" in state(log(*entries), *without, forbid("minefield")).reason


@settings(max_examples=30)
@given(judged())
def test_judging_changes_nothing_and_is_the_same_twice(case):
    entries, clauses = case[3], case[4]
    seen = log(*entries)
    kept = copy.deepcopy(seen)
    assert state(seen, *clauses) == state(seen, *clauses)
    assert seen == kept


def test_the_fields_are_those_that_the_store_writes():
    assert tuple(CANCEL) == log_module._FIELDS
