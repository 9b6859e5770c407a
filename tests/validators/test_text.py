"""matches and similar: whole text, bounded work, and a measure that is what it says."""

import random
from itertools import product

import pytest
from envkit_validators import matches, similar
from envkit_validators._regex import BUDGET, _Bound, _parser, admit
from hypothesis import given, settings
from hypothesis import strategies as st

from envkit.data.strict import Malformed

ADMITTED = [
    r"\d{4}-\d{2}-\d{2}",
    r"^\d+$",
    r"[a-z]+@[a-z]+\.[a-z]{2,3}",
    r"-?\d+(?:\.\d+)?",
    r"\w+(?:, \w+)*",
    r"(cat|dog)s?",
    r"(?:cat|dog){3}",
    r"[^,]+,[^,]+,[^,]+",
    r"sha256:[0-9a-f]{64}",
    r"a++b",
    r"\$[0-9]{1,9}\.[0-9]{2}",
    r"[a-z]+[a-z0-9]*",
    r"(\d+)-(\d+)-(\d+)-(\d+)",
    r"(\w|\d)+x",  # the parser makes one set of it
]
REFUSED = [
    r"^(\w+\s?)*$",
    r"(a|aa)+",
    r"(a+)+b",
    r"(a*)*b",
    r"(a?){50}a{50}",
    r"((ab?)+c?)+",
    r"(?:a|a?)+",
    r"\w*\w*\w*\w*x",
    r"\w+\d+\w+\d+x",
    r"\w+\w+a{30}",  # few ways, each long
    r"(a|b|ab)*c",
    r"(?:(?:a{1,9}){1,9}){1,9}",
    r"(.)\1",
    r"(?=a)a",
    r"(?<!a)b",
    r"(?i)a",
    r"(?i:a)b",
    r".*42.*",
    r".+",
    r"\w*",
    r"a?",
    r"",
    r"(",
    r"[z-a]",
    r"a{2000}",
    r"a{99999999999999999999}",
    r"(?P<x>a)(?(x)b|c)",
    "(" * 400 + "a" + ")" * 99,
    "a" * 501,
]


@pytest.mark.parametrize("pattern", ADMITTED)
def test_patterns_of_bounded_work_are_read(pattern):
    assert matches("no match ever \x00", pattern).value == 0.0


@pytest.mark.parametrize("pattern", REFUSED)
def test_patterns_that_may_not_end_or_say_nothing_are_refused_at_once(pattern):
    with pytest.raises(ValueError, match=r"pattern"):
        matches(Malformed("f", "missing"), pattern)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("pattern", ADMITTED)
@pytest.mark.parametrize("unit", ["a", "1", "a ", "1.", "a@", ",", "catdog", "\x00", "a, ", "1-"])
def test_admitted_patterns_end_on_hostile_text(pattern, unit):
    text = (unit * 1000)[:999] + "!"
    assert isinstance(matches(text, pattern).value, float)


@pytest.mark.timeout(60)
def test_text_that_is_too_long_is_not_matched_at_all():
    assert matches("a" * 1001, "a+").value == 0.0
    assert matches("a" * 1001, "a+", max_chars=2000).passed
    assert (
        matches("1" * 10_000_000, r"\d+").reason
        == "saw 10000000 characters, at most 1000 are matched"
    )


@pytest.mark.parametrize("limit", [0, -1, 4097])
def test_the_cap_on_text_has_bounds_of_its_own(limit):
    with pytest.raises(ValueError, match="max_chars"):
        matches("a", "a", max_chars=limit)


def test_a_lower_cap_admits_more():
    pattern = r"\w+\d+\w+x"
    with pytest.raises(ValueError, match="lower max_chars"):
        matches("a1bx", pattern)
    assert matches("a1bx", pattern, max_chars=100).passed


def test_matches_is_of_the_whole_text_alone():
    assert matches(" AB-12\n", r"[A-Z]{2}-\d\d").passed
    assert matches("ab-12", r"[A-Z]{2}-\d\d", ignore_case=True).passed
    for seen in (
        "AB-12 AB-13",
        "xAB-12",
        "AB-12\nAB-12",
        "ab-12",
        "",
        ["AB-12"],
        12,
        None,
        b"AB-12",
    ):
        assert matches(seen, r"[A-Z]{2}-\d\d").value == 0.0


# ---- the bound on work, against a matcher that counts its steps ------------------------------

ALPHABET = "ab,"
_atoms = st.sampled_from(["a", "b", ",", "[ab]", "[^,]", "[^a]"])
_counts = st.sampled_from([(0, 1), (0, None), (1, None), (2, 2), (1, 3), (0, 4)])


def _grow(parts):
    seq = st.lists(parts, min_size=1, max_size=3).map(lambda items: ("seq", items))
    alt = st.lists(parts, min_size=2, max_size=2).map(lambda items: ("alt", items))
    rep = st.tuples(parts, _counts).map(lambda pair: ("rep", *pair))
    return seq | alt | rep


TREES = st.recursive(_atoms, _grow, max_leaves=7)


def render(tree):
    if isinstance(tree, str):
        return tree
    if tree[0] == "seq":
        return "(?:" + "".join(map(render, tree[1])) + ")"
    if tree[0] == "alt":
        return "(?:" + "|".join(map(render, tree[1])) + ")"
    low, high = tree[2]
    return f"(?:{render(tree[1])}){{{low},{'' if high is None else high}}}"


class Steps:
    """A greedy backtracking matcher over re's own tree that counts its steps."""

    def __init__(self, text):
        self.text, self.count = text, 0

    def fullmatch(self, items):
        return self.items(items, 0, lambda at: at == len(self.text))

    def items(self, items, at, then):
        if not items:
            return then(at)
        (op, value), *rest = items
        return self.item(str(op), value, at, lambda on: self.items(rest, on, then))

    def item(self, op, value, at, then):
        if op == "SUBPATTERN":
            return self.items(list(value[3]), at, then)
        if op == "BRANCH":
            return any(self.items(list(branch), at, then) for branch in value[1])
        if op == "MAX_REPEAT":
            low, high, body = value
            return self.repeat(low, high, body, at, then)
        self.count += 1
        return at < len(self.text) and is_in(op, value, self.text[at]) and then(at + 1)

    def repeat(self, low, high, body, at, then):
        def again(on):
            return on > at and self.repeat(max(low - 1, 0), high - 1, body, on, then)

        if high > 0 and self.items(list(body), at, again):
            return True
        return low == 0 and then(at)


def is_in(op, value, char):
    if op != "IN":
        return (chr(value) == char) == (op == "LITERAL")
    members = {chr(code) for kind, code in value if str(kind) == "LITERAL"}
    return (char in members) != any(str(kind) == "NEGATE" for kind, _ in value)


@pytest.mark.timeout(120)
@settings(max_examples=150, deadline=None)
@given(TREES, st.integers(0, 2**32))
def test_the_bound_holds_for_a_matcher_that_counts(tree, seed):
    pattern, size = render(tree), 7
    try:
        compiled = admit(pattern, False, size)
    except ValueError:
        return
    items = _parser.parse(pattern).data
    cost = _Bound(pattern, False, size).sequence(items, frozenset({-1}))
    texts = ["".join(text) for text in product(ALPHABET, repeat=size)]
    for text in [*random.Random(seed).sample(texts, 60), "a" * size, "ab" * 3 + ",", "a,b,a,b"]:
        steps = Steps(text)
        assert bool(steps.fullmatch(items)) == bool(compiled.fullmatch(text))
        assert steps.count <= 2 * cost.ways * (cost.size + 1), (pattern, text, cost)


def test_the_budget_is_what_a_second_allows():
    assert BUDGET <= 20_000_000


# ---- similarity ------------------------------------------------------------------------------


def lcs(a, b):
    """The textbook table, as an oracle."""
    row = [0] * (len(b) + 1)
    for x in a:
        before = row
        row = [0]
        for j, y in enumerate(b):
            row.append(before[j] + 1 if x == y else max(before[j + 1], row[j]))
    return row[-1]


@given(st.text("abc ", max_size=30), st.text("abc", min_size=1, max_size=30), st.floats(0.67, 1.0))
def test_similar_is_twice_the_common_subsequence_over_both_lengths(seen, expected, threshold):
    text = seen.strip()
    value = 2 * lcs(text, expected) / (len(text) + len(expected))
    check = similar(seen, expected, threshold=threshold)
    if abs(value - threshold) > 1e-12:
        assert check.passed == (value > threshold)
    assert check.value in (0.0, 1.0)


def test_similar_at_one_means_equal():
    assert similar(" abc\n", "abc", threshold=1).passed
    assert not similar("abd", "abc", threshold=1).passed
    assert similar("ABC", "abc", threshold=1, ignore_case=True).passed
    assert similar(
        "unpaid", "paid", threshold=0.8
    ).passed  # said in the docstring: it knows no meaning


@given(st.text(min_size=1, max_size=50).filter(str.strip), st.text(min_size=1, max_size=50))
def test_similar_never_takes_the_answer_with_as_much_beside_it(answer, other):
    answer = answer.strip()
    other = (other * len(answer))[: len(answer)]
    dump = answer + "|" + other + "|"
    assert not similar(dump, answer, threshold=0.67).passed


@pytest.mark.timeout(30)
def test_similar_does_not_compare_what_is_too_long():
    check = similar("a" * 2_001, "a" * 2_000, threshold=0.9)
    assert (check.value, check.reason) == (0.0, "saw 2001 characters, at most 2000 are compared")
    assert similar(("ab" * 1000)[:2000], ("ba" * 1000)[:2000], threshold=0.9).passed
    assert similar("\u0390" * 2000, "a" * 2000, threshold=0.9, ignore_case=True).value == 0.0


@pytest.mark.parametrize(
    ("expected", "threshold"),
    [
        ("", 0.9),
        (" ", 0.9),
        ("a" * 2001, 0.9),
        ("a", 0),
        ("a", 0.5),
        ("a", 1.01),
        ("a", float("nan")),
    ],
)
def test_similar_refuses_what_means_nothing(expected, threshold):
    with pytest.raises(ValueError, match="similar"):
        similar(Malformed("f", "missing"), expected, threshold=threshold)


def test_malformed_and_other_types_fail():
    for seen in (Malformed("f", "missing"), None, 7, ["abc"], b"abc"):
        assert similar(seen, "abc", threshold=0.9).value == 0.0
        assert matches(seen, "abc").value == 0.0
    assert matches(Malformed("f", "missing"), "abc").reason == "f: missing"
