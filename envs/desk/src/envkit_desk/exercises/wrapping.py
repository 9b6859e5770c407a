"""Wrapping of text."""

from __future__ import annotations

from random import Random

from envkit_desk.exercises.exercise import Arguments, Bug, Drawn, Exercise

CORE = r'''"""Break text into lines of limited width."""

from $package.$helpers import WIDTH, $pieces


def $fill(paragraph):
    """The lines of one paragraph; none where it holds no word."""
    lines = []
    for word in $pieces(paragraph):
        if lines and len(lines[-1]) + 1 + len(word) <= WIDTH:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return lines


def $main($text):
    """Break `$text` into a list of lines of at most WIDTH characters.

    Paragraphs end at line feeds and are wrapped one by one; a paragraph without words is one empty
    line. Words are separated by blanks. A line takes as many words as fit, with a single blank
    between them. A word longer than WIDTH is cut into pieces of WIDTH characters (the last may be
    shorter), and each piece is then treated as a word of its own.
    """
    lines = []
    for paragraph in $text.split("\n"):
        lines.extend($fill(paragraph) or [""])
    return lines
'''

HELPERS = '''\
"""Words and pieces of words."""

WIDTH = $width


def $pieces(paragraph):
    """The words of a paragraph, those longer than WIDTH cut into pieces of WIDTH characters."""
    found = []
    for word in paragraph.split():
        for start in range(0, len(word), WIDTH):
            found.append(word[start : start + WIDTH])
    return found
'''


def reference(drawn: Drawn, text: str) -> list[str]:
    """Cut the long words first, then try every word on the line."""
    width, lines = int(drawn["width"]), []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            rest = word
            while rest:
                piece, rest = rest[:width], rest[width:]
                tried = f"{line} {piece}" if line else piece
                if len(tried) > width:
                    lines.append(line)
                    tried = piece
                line = tried
        lines.append(line)
    return lines


def _word(rng: Random, length: int) -> str:
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(length))


def inputs(rng: Random, drawn: Drawn) -> Arguments:
    """Paragraphs of short, long and very long words, now and then an empty one or two blanks."""
    width, paragraphs = int(drawn["width"]), []
    for _ in range(rng.randint(1, 3)):
        words = [_word(rng, rng.randint(1, width // 2 + 2)) for _ in range(rng.randint(4, 9))]
        if rng.random() < 0.4:
            words.insert(rng.randint(0, len(words)), _word(rng, width + rng.randint(0, width + 3)))
        paragraphs.append(rng.choice((" ", "  ")).join(words))
        if rng.random() < 0.3:
            paragraphs.append("")
    return ["\n".join(paragraphs)]


def _exact_fit(rng: Random, drawn: Drawn) -> Arguments:
    width = int(drawn["width"])
    first = rng.randint(2, width - 3)
    return [f"{_word(rng, first)} {_word(rng, width - 1 - first)}"]


def _one_over(rng: Random, drawn: Drawn) -> Arguments:
    width = int(drawn["width"])
    first = rng.randint(2, width - 2)
    return [f"{_word(rng, first)} {_word(rng, width - first)}"]


def _empty_between(rng: Random, drawn: Drawn) -> Arguments:
    return [f"{_word(rng, 4)}\n\n{_word(rng, 5)}"]


def _long_word(rng: Random, drawn: Drawn) -> Arguments:
    width = int(drawn["width"])
    return [f"{_word(rng, 3)} {_word(rng, width + rng.randint(2, 7))}"]


EXERCISE = Exercise(
    name="wrapping",
    about="wraps text",
    names={
        "core": ("wrapping", "layout", "paragraphs", "flow"),
        "helpers": ("words", "tokens", "cutting", "units"),
        "main": ("wrap", "to_lines", "break_text", "fold", "lay_out", "reflow"),
        "fill": ("fill", "pack", "flow_words", "set_lines"),
        "pieces": ("pieces", "chunks", "short_words", "parts"),
        "text": ("text", "note", "message", "body", "comment", "memo"),
        "width": ("8", "10", "12", "14", "16", "18", "20", "24"),
    },
    core=CORE,
    helpers=HELPERS,
    reference=reference,
    inputs=inputs,
    bugs=(
        Bug(
            name="exact-fit",
            module="core",
            right="len(word) <= WIDTH",
            wrong="len(word) < WIDTH",
            symptom="lines break too early",
            expose=_exact_fit,
        ),
        Bug(
            name="blank-forgotten",
            module="core",
            right="len(lines[-1]) + 1 + len(word)",
            wrong="len(lines[-1]) + len(word)",
            symptom="some lines are wider than they may be",
            expose=_one_over,
        ),
        Bug(
            name="empty-paragraph",
            module="core",
            right='lines.extend($fill(paragraph) or [""])',
            wrong="lines.extend($fill(paragraph))",
            symptom="space between paragraphs is lost",
            expose=_empty_between,
        ),
        Bug(
            name="letter-lost",
            module="helpers",
            right="word[start : start + WIDTH]",
            wrong="word[start : start + WIDTH - 1]",
            symptom="letters go missing",
            expose=_long_word,
        ),
        Bug(
            name="rest-lost",
            module="helpers",
            right="for start in range(0, len(word), WIDTH):",
            wrong="for start in range(0, len(word) - WIDTH + 1, WIDTH) or [0]:",
            symptom="the end of very long words is cut off",
            expose=_long_word,
        ),
    ),
)
