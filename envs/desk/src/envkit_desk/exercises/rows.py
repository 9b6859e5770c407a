"""Writing of delimited rows."""

from __future__ import annotations

from random import Random

from envkit_desk.exercises.exercise import Arguments, Bug, Drawn, Exercise

CORE = r'''"""Write $cells as delimited rows."""

from $package.$helpers import DELIMITER, QUOTE, $needs, $quoted


def $write(cell):
    """One cell as it stands in a row: in quotes where it needs them, else as it is."""
    return $quoted(cell) if $needs(cell) else cell


def $main($cells):
    """Write a row of one or more text $cells as one string, without a line end.

    They are joined by DELIMITER, each written by `$write`. A row of a single empty cell is written
    as two quotes, because an empty line would be no row.
    """
    if $cells == [""]:
        return QUOTE * 2
    return DELIMITER.join($write(cell) for cell in $cells)
'''

HELPERS = r'''"""When and how a cell is quoted."""

DELIMITER = "$delimiter"
QUOTE = '"'


def $needs(cell):
    """Whether a cell has to be quoted.

    It has to where it holds DELIMITER, QUOTE, a line feed or a carriage return, or where it begins
    or ends with a blank.
    """
    return any(mark in cell for mark in (DELIMITER, QUOTE, "\n", "\r")) or cell != cell.strip(" ")


def $quoted(cell):
    """A cell in quotes; each quote inside is doubled."""
    return QUOTE + cell.replace(QUOTE, QUOTE * 2) + QUOTE
'''

WORDS = ("ash", "birch", "cedar 4", "d'Arc", "elm", "", "12.50", "f\\g", "hazel tree", "x", "ö")


def reference(drawn: Drawn, cells: list[str]) -> str:
    """Character by character."""
    delimiter = drawn["delimiter"]
    written = []
    for cell in cells:
        special = " " in (cell[:1], cell[-1:]) or set(cell) & {delimiter, '"', "\n", "\r"}
        inside = "".join('""' if letter == '"' else letter for letter in cell)
        written.append(f'"{inside}"' if special else cell)
    return delimiter.join(written) if cells != [""] else '""'


def _plain(rng: Random, count: int) -> list[str]:
    return [rng.choice(WORDS) for _ in range(count)]


def _with(rng: Random, special: str) -> Arguments:
    cells = _plain(rng, rng.randint(1, 4))
    cells.insert(rng.randint(0, len(cells)), special)
    return [cells]


def inputs(rng: Random, drawn: Drawn) -> Arguments:
    """Rows with a few cells of every kind."""
    cells = _plain(rng, rng.randint(1, 4))
    for _ in range(rng.randint(0, 3)):
        word, mark = rng.choice(WORDS), rng.choice((drawn["delimiter"], '"', "\n", "\r", " "))
        cells.append(rng.choice((word + mark, mark + word, word + mark + word)))
    rng.shuffle(cells)
    return [cells]


def _quote_inside(rng: Random, drawn: Drawn) -> Arguments:
    return _with(rng, rng.choice(WORDS) + '"' + rng.choice(WORDS))


def _carriage_return(rng: Random, drawn: Drawn) -> Arguments:
    return _with(rng, "a" + rng.choice(WORDS) + "\r" + rng.choice(WORDS) + "z")


def _blank_at_the_end(rng: Random, drawn: Drawn) -> Arguments:
    return _with(rng, "a" + rng.choice(WORDS) + " " * rng.randint(1, 3))


def _delimiter_inside(rng: Random, drawn: Drawn) -> Arguments:
    return _with(rng, "a" + rng.choice(WORDS) + drawn["delimiter"] + rng.choice(WORDS) + "z")


def _empty_inside(rng: Random, drawn: Drawn) -> Arguments:
    return [[rng.choice(WORDS[:5]), "", *_plain(rng, rng.randint(1, 3))]]


EXERCISE = Exercise(
    name="rows",
    about="writes delimited text rows",
    names={
        "core": ("writer", "rows", "export", "lines"),
        "helpers": ("quoting", "marks", "escape", "dialect"),
        "main": ("write_row", "format_row", "to_line", "render_row", "encode_row", "dump_row"),
        "write": ("as_cell", "one_cell", "written", "cell_text"),
        "needs": ("must_quote", "needs_quotes", "is_special", "unsafe"),
        "quoted": ("quoted", "wrapped", "in_quotes", "enclosed"),
        "cells": ("cells", "fields", "values", "columns", "entries", "items"),
        "delimiter": (",", ";", "|", ":", "/"),
    },
    core=CORE,
    helpers=HELPERS,
    reference=reference,
    inputs=inputs,
    bugs=(
        Bug(
            name="undoubled",
            module="helpers",
            right="cell.replace(QUOTE, QUOTE * 2)",
            wrong='cell.replace(QUOTE, "\\\\" + QUOTE)',
            symptom="rows with a quote in one of the $cells can't be read back",
            expose=_quote_inside,
        ),
        Bug(
            name="carriage-return",
            module="helpers",
            right='(DELIMITER, QUOTE, "\\n", "\\r")',
            wrong='(DELIMITER, QUOTE, "\\n")',
            symptom="rows that come from another operating system are torn apart by our reader",
            expose=_carriage_return,
        ),
        Bug(
            name="blank-at-the-end",
            module="helpers",
            right='cell != cell.strip(" ")',
            wrong='cell != cell.lstrip(" ")',
            symptom="readers drop blanks that belong to one of the $cells",
            expose=_blank_at_the_end,
        ),
        Bug(
            name="unquoted",
            module="core",
            right="return $quoted(cell) if $needs(cell) else cell",
            wrong="return $quoted(cell) if QUOTE in cell else cell",
            symptom="some rows are read back with more $cells than were written",
            expose=_delimiter_inside,
        ),
        Bug(
            name="empty-lost",
            module="core",
            right="return DELIMITER.join($write(cell) for cell in $cells)",
            wrong="return DELIMITER.join($write(cell) for cell in $cells if cell)",
            symptom="the $cells of some rows are shifted to the left",
            expose=_empty_inside,
        ),
    ),
)
