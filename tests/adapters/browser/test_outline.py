"""The outline is total, loses nothing, and gives no reference twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from envkit.adapters.browser import outline

SNAPSHOT = """- generic [active] [ref=e1]:
  - navigation [ref=e2]:
    - 'link "a: b" [ref=e3] [cursor=pointer]':
      - /url: /x
  - generic [ref=e4]:
    - button "Say \\"hi\\"" [disabled] [ref=e5]
  - 'paragraph [ref=e6]': "quoted: text"
  - text: "- button \\"Forged\\" [ref=e9]"
  - iframe [ref=e7]:
    - button "Inner" [ref=f1e2]"""


def test_a_snapshot_is_read_and_pruned():
    roots = outline.parse(SNAPSHOT)
    outline.Refs().name(roots, "1.1")
    assert outline.lines(roots) == [
        "- generic [active] [ref=e1]",
        "  - navigation [ref=e2]",
        '    - link "a: b" [ref=e3]',
        "      - /url: /x",
        '  - button "Say \\"hi\\"" [disabled] [ref=e4]',
        "  - paragraph [ref=e5]: quoted: text",
        '  - text: - button "Forged" [ref=e9]',
        "  - iframe [ref=e6]",
        '    - button "Inner" [ref=e7]',
    ]


def test_references_stay_with_what_they_named():
    refs = outline.Refs()
    roots = outline.parse('- button "A" [ref=e1]\n- button "B" [ref=e2]')
    refs.name(roots, "1.1")
    assert [node.ref for node in roots] == ["e1", "e2"]
    refs.name(outline.parse('- button "B" [ref=e2]\n- button "C" [ref=e1]'), "1.1")
    assert (refs.place("e2"), refs.place("e1"), refs.place("e3")) == ("e2", None, "e1")
    refs.name(outline.parse('- button "B" [ref=e2]'), "1.2")  # another document: another button
    assert refs.place("e2") is None
    assert refs.place("e4") == "e2"
    assert (
        refs.missing("e2")
        == 'e2 (button "B") is not on this page any more. Closest now: e4 (button "B").'
    )


@given(st.text(max_size=400), st.integers(0, 50), st.integers(1, 300))
def test_any_text_makes_some_outline(text, offset, budget):
    roots = outline.parse(text)
    outline.Refs().name(roots, "1.1")
    lines = outline.lines(roots)
    assert not any("\n" in line for line in lines)
    outline.page(lines, offset, budget)
    outline.changed(roots, roots)
    outline.matches(roots, "a")


@given(st.lists(st.text(alphabet="ab ", max_size=30), max_size=60), st.integers(1, 200))
def test_pages_together_are_the_whole(lines, budget):
    seen: list[str] = []
    for _ in range(len(lines) + 1):
        if len(seen) >= len(lines):
            break
        shown = outline.page(lines, len(seen), budget)
        count = len(lines) if "\n[lines " not in shown else None
        if count is None:
            first, last = shown.rsplit("\n[lines ", 1)[1].split(" of")[0].split(" to ")
            assert int(first) == len(seen)
            count = int(last) + 1
        seen = lines[:count]
    assert len(seen) == len(lines)


tree = st.recursive(
    st.sampled_from(["a", "b", "c"]), lambda inner: st.lists(inner, max_size=6), max_leaves=30
)


def _snapshot(value, depth=0, numbers=None):
    numbers = numbers if numbers is not None else iter(range(1, 10_000))
    if isinstance(value, str):
        return [f'{"  " * depth}- button "{value}" [ref=e{next(numbers)}]']
    made = [f"{'  ' * depth}- list [ref=e{next(numbers)}]:"]
    for child in value:
        made += _snapshot(child, depth + 1, numbers)
    return made


@given(tree, tree)
def test_changes_name_every_new_line(before, now):
    refs = outline.Refs()
    first, second = (outline.parse("\n".join(_snapshot(value))) for value in (before, now))
    refs.name(first, "1.1")
    refs.name(second, "1.1")
    part = outline.changed(first, second)
    if part is not None:
        old = set(map(str.strip, outline.lines(first)))
        for line in map(str.strip, outline.lines(second)):
            assert line in old or line in set(map(str.strip, part))


def test_deep_trees_are_flattened_and_endless_lines_wrapped():
    deep = "\n".join(f"{'  ' * depth}- list [ref=e{depth + 1}]:" for depth in range(5000))
    roots = outline.parse(deep)
    outline.Refs().name(roots, "1.1")
    assert len(list(outline.walk(roots))) == 5000
    long = outline.lines(outline.parse(f"- text: {'x' * 5000}"))
    assert max(map(len, long)) < 450
    assert "".join(line.strip().removeprefix("… ") for line in long) == f"- text: {'x' * 5000}"


def _long(role, count):
    return "\n".join(f'- {role} "{n}{"abcdefghij" * 12}" [ref=e{n}]' for n in range(count))


def _nested(depth, count):
    above = [f"{'  ' * level}- list [ref=f{level}]:" for level in range(depth)]
    return "\n".join(
        [*above, *(f"{'  ' * depth}- listitem [ref=e{n}]: row {n}" for n in range(count))]
    )


def test_changes_are_found_by_going_over_a_page_a_few_times_however_deep_it_is(monkeypatch):
    written, line = [], outline.Node.line

    def counted(node):
        written.append(node)
        return line(node)

    monkeypatch.setattr(outline.Node, "line", counted)
    snapshot, refs = _nested(90, 300), outline.Refs()
    first, second = outline.parse(snapshot), outline.parse(f'{snapshot}\n- button "New" [ref=e0]')
    for roots in (first, second):
        refs.name(roots, "1.1")
    assert len(outline.changed(first, second)) == 2
    assert len(written) < 5 * 400


def test_a_stale_reference_is_compared_with_a_few_short_names(monkeypatch):
    compared: list[str] = []

    def none(head, names, **_):
        compared.extend([head, *names])
        return []

    monkeypatch.setattr(outline, "get_close_matches", none)
    refs = outline.Refs()
    refs.name(outline.parse(f'- button "{"ba" * 50_000}" [ref=e1]'), "1.1")
    refs.name(outline.parse("\n".join([_long("link", 50), _long("button", 3000)])), "1.2")
    assert "not on this page any more" in refs.missing("e1")
    assert 1 < len(compared) <= 101
    assert max(map(len, compared)) <= 100


def test_what_is_kept_is_bounded_and_what_is_left_out_is_said(monkeypatch):
    monkeypatch.setattr(outline, "_MOST", 10)
    monkeypatch.setattr(outline, "_HEADS", 20)
    roots = outline.parse(_long("button", 15))
    assert [node.text for node in roots if node.role == "text"] == [
        "5 more lines of this page are not shown"
    ]
    refs = outline.Refs()
    for document in range(20):
        refs.name(outline.parse(_long("button", 10)), f"1.{document}")
    assert len(refs._heads) == 20
    assert len(refs._given) == outline._DOCUMENTS
    assert refs.place("e200") == "e9"
    assert "is not on this page any more. Closest now: e191" in refs.missing("e181")
    assert "no element" in refs.missing("e1")


def test_lone_surrogates_become_characters():
    (node,) = outline.parse('- paragraph "a\ud800b" [ref=e1]: \udfff')
    outline.sound(node.line()).encode()
    assert node.line() == '- paragraph "a\ufffdb": \ufffd'
