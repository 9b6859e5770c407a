"""returns, round_trip, prints: driven by a probe host made of Python functions."""

import base64
import json

import pytest
from envkit_validators import Near, Slot, prints, returns, round_trip

from envkit.data.probe import Reply, SubjectCall, SubjectRun
from envkit.data.score import Check, failed, passed
from envkit.data.strict import Malformed
from envkit.data.task import Blob

FILES: dict[str, str | bytes] = {"kit/m.py": b"def f(): ...", "README": "text"}
CASES = [((2,), 4), ((3,), 9), ((True, "x"), [1, None])]


def drive(asking, host):
    """Run a generator to its check, with what it asked."""
    asked = []
    probes, check = step(asking, None)
    while check is None:
        asked.append(list(probes))
        probes, check = step(asking, [host(probe) for probe in probes])
    assert isinstance(check, Check)
    return check, asked


def step(asking, replies):
    """The next batch and no check yet, or no batch and the check."""
    try:
        return asking.send(replies), None
    except StopIteration as done:
        return (), done.value


def value(result):
    return Reply(ok=True, status=0, stdout=json.dumps(result))


def table(answers):
    return lambda probe: value(answers[json.dumps(probe.arguments)])


RIGHT = {"[2]": 4, "[3]": 9, '[true, "x"]': [1, None]}


def test_returns_passes_where_every_case_is_right():
    check, asked = drive(returns(FILES, "kit/m.py", "f", CASES), table(RIGHT))
    assert check.passed
    assert [type(probe) for probe in asked[0]] == [SubjectCall] * 3
    probe = asked[0][2]
    assert probe.arguments == (True, "x")
    assert (probe.module, probe.function, probe.seconds, probe.batch) == (
        "kit/m.py",
        "f",
        5.0,
        None,
    )
    assert probe.files == {"kit/m.py": Blob(data=b"def f(): ..."), "README": "text"}


@pytest.mark.parametrize("wrong", [4.0, "4", True, None, [4], float("nan"), {"answers": [4, 9]}])
def test_one_wrong_case_fails_all(wrong):
    check, _ = drive(returns(FILES, "kit/m.py", "f", CASES), table({**RIGHT, "[2]": wrong}))
    assert check.value == 0.0
    assert check.reason.startswith("f was called: 2 of 3 right; for [2]: ")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(ok=False, problem="timeout"),
        Reply(ok=False, status=1),
        Reply(ok=True, stdout=""),
        Reply(ok=True, stdout="4 9"),
        Reply(ok=True, stdout="NaN"),
        Reply(ok=True, stdout="[" * 100_000),
        Reply(ok=True, stdout="1" * 5_000),
        Reply(ok=True, stdout='{"a":1,"a":1}'),
    ],
)
def test_a_subject_that_gives_no_value_fails(reply):
    for asking in (
        returns(FILES, "kit/m.py", "f", CASES),
        round_trip(FILES, "kit/m.py", ("e", "d"), ["a", "b"], form=lambda _, code: passed()),
        prints(FILES, ["python", "kit/m.py"], [("a", "b"), ("b", "a")]),
    ):
        check, _ = drive(asking, lambda probe: reply)
        assert check.value == 0.0
        assert len(check.reason) < 600


def test_a_host_that_owes_replies_fails_closed():
    for asking in (
        returns(FILES, "kit/m.py", "f", CASES),
        round_trip(FILES, "kit/m.py", ("e", "d"), ["a", "b"], form=lambda _, code: passed()),
        prints(FILES, ["x"], [("a", "b"), ("b", "a")]),
    ):
        next(asking)
        with pytest.raises(StopIteration) as done:
            asking.send([])
        assert done.value.value.value == 0.0
        assert "0 replies to" in done.value.value.reason


def test_missing_and_malformed_files_fail_without_a_probe():
    for files in (
        {},
        {"other.py": b""},
        {"kit/m.py": Malformed("shell/kit/m.py", "not UTF-8 text")},
    ):
        check, asked = drive(returns(files, "kit/m.py", "f", CASES), table(RIGHT))
        assert (check.value, asked) == (0.0, [])
        pair = round_trip(files, "kit/m.py", ("e", "d"), ["a", "b"], form=lambda _, code: passed())
        assert drive(pair, table(RIGHT)) == (check, [])
    check, asked = drive(prints({}, ["x"], [("a", "b"), ("b", "a")]), table(RIGHT))
    assert (check.value, asked) == (0.0, [])


def test_near_stands_for_a_number():
    cases = [((1,), Near(0.333, abs_tol=1e-3)), ((2,), {"x": Near(0.5, rel_tol=1e-6)})]
    right = {"[1]": 1 / 3, "[2]": {"x": 0.5}}
    assert drive(returns(FILES, "kit/m.py", "f", cases), table(right))[0].passed
    assert not drive(returns(FILES, "kit/m.py", "f", cases), table({**right, "[1]": "0.333"}))[
        0
    ].passed


@pytest.mark.parametrize(
    "cases",
    [
        [],
        [((1,), 1)],
        [((1,), True), ((2,), True)],
        [((1,), 1), ((2,), float("nan"))],
        [((float("inf"),), 1), ((2,), 2)],
        [((object(),), 1), ((2,), 2)],
        [("ab", 1), ("cd", 2)],
    ],
)
def test_cases_that_a_constant_would_pass_are_refused(cases):
    with pytest.raises(ValueError, match=r"returns"):
        next(returns({}, "kit/m.py", "f", cases))


def test_a_batch_is_opt_in():
    slot = Slot(seconds=2, image="i", batch=True)
    _, asked = drive(returns(FILES, "kit/m.py", "f", CASES, slot=slot), table(RIGHT))
    assert {(probe.batch, probe.seconds, probe.image) for probe in asked[0]} == {("f", 2.0, "i")}


# ---- round trips -----------------------------------------------------------------------------


def b64(given, code):
    is_b64 = isinstance(code, str) and code == base64.b64encode(given.encode()).decode()
    return passed() if is_b64 else failed("not base64")


def codec(probe):
    (given,) = probe.arguments
    if probe.function == "enc":
        return value(base64.b64encode(given.encode()).decode())
    return value(base64.b64decode(given).decode())


def shorter(given, code):
    return passed() if isinstance(code, str) and len(code) < len(given) else failed("not shorter")


def test_a_codec_round_trips_one_process_a_call():
    check, asked = drive(
        round_trip(FILES, "kit/m.py", ("enc", "dec"), ["ab", "cd"], form=b64), codec
    )
    assert check.passed
    assert [[probe.function for probe in batch] for batch in asked] == [["enc"] * 2, ["dec"] * 2]
    assert all(probe.batch is None for batch in asked for probe in batch)


def test_the_identity_and_a_memory_do_not_round_trip():
    def same(probe):
        return value(probe.arguments[0])

    def remembers(probe):  # as it would in a fresh process: what `enc` kept is gone
        return value("1") if probe.function == "enc" else value(None)

    for host, form in ((same, shorter), (remembers, lambda _, code: passed())):
        asking = round_trip(FILES, "kit/m.py", ("enc", "dec"), ["abc", "def"], form=form)
        assert drive(asking, host)[0].value == 0.0


def test_a_bad_encoding_is_never_decoded():
    asking = round_trip(FILES, "kit/m.py", ("enc", "dec"), ["abc", "def"], form=shorter)
    check, asked = drive(asking, codec)
    assert check.reason == "enc was called: 0 of 2 right; for 'abc': not shorter"
    assert len(asked) == 1


def test_a_round_trip_refuses_batch_and_constants():
    for inputs, slot in ((["a", "b"], Slot(batch=True)), (["a", "a"], Slot()), ([], Slot())):
        with pytest.raises(ValueError, match="round_trip"):
            next(round_trip({}, "m.py", ("e", "d"), inputs, form=shorter, slot=slot))


# ---- programs --------------------------------------------------------------------------------


def test_prints_compares_whole_outputs():
    def upper(probe):
        return Reply(ok=True, status=0, stdout=probe.stdin.upper() + "\n")

    cases = [("a", "A"), ("b c", "B C\n")]
    check, asked = drive(prints(FILES, ["python", "kit/m.py"], cases), upper)
    assert check.passed
    assert isinstance(asked[0][0], SubjectRun)
    assert asked[0][1].argv == ("python", "kit/m.py")
    for host in (
        lambda probe: Reply(ok=True, stdout="A"),
        lambda probe: Reply(ok=True, stdout="A\nB C"),
        lambda probe: Reply(ok=False, status=1, stdout=probe.stdin.upper()),
        lambda probe: Reply(ok=True, stdout=""),
    ):
        assert drive(prints(FILES, ["python", "kit/m.py"], cases), host)[0].value == 0.0


@pytest.mark.parametrize(
    ("argv", "cases", "slot"),
    [
        ([], [("a", "A"), ("b", "B")], Slot()),
        ("python m.py", [("a", "A"), ("b", "B")], Slot()),
        (["x"], [("a", "A"), ("b", " A\n")], Slot()),
        (["x"], [("a", "A"), ("b", "B")], Slot(batch=True)),
    ],
)
def test_prints_refuses_what_means_nothing(argv, cases, slot):
    with pytest.raises(ValueError, match="prints"):
        next(prints({}, argv, cases, slot=slot))
