"""What all commands share: where they print, how, and the shape of their options."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")
]


def console(*, stderr: bool = False) -> Console:
    """A console without markup or highlighting: what it shows may come from an agent."""
    from rich.console import Console

    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = 200  # nobody's screen: nothing has to be cut
    return made


def escaped(text: str) -> str:
    """Text with everything spelled out that a terminal would act on or hide; line ends stay."""
    if text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    return character.encode("unicode_escape").decode("ascii")


_machine: TextIO | None = None


@contextlib.contextmanager
def stdout_for_the_document() -> Iterator[None]:
    """Keep stdout for `document`: what a pack or a library prints meanwhile goes to stderr."""
    global _machine  # noqa: PLW0603 - there is one stdout, as there is one sys.stdout
    _machine = sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _machine = None


def document(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print the one JSON document of a command."""
    stream = _machine or sys.stdout
    stream.write(json.dumps(value, indent=2) + "\n")
    stream.flush()


def say(text: str) -> None:
    """A line for people on stderr: news, warnings, errors."""
    sys.stderr.write(escaped(text) + "\n")


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[object], None]]:
    """While people wait, a line on stderr that counts what is done; `tell` it of each."""
    done = 0
    with console(stderr=True).status(what) as status:

        def tell(_: object) -> None:
            nonlocal done
            done += 1
            status.update(f"{what}: {done} done")

        yield tell


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> Table:
    """A table for people; ">" before a column's name sets it to the right, "~" lets it fold."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(
        title=Text(escaped(title)) if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in columns:
        right, folds = name.startswith(">"), name.startswith("~")
        made.add_column(
            Text(name.lstrip(">~")),
            justify="right" if right else "left",
            no_wrap=not folds,
            overflow="fold",
            min_width=8 if folds else None,
        )
    for row in rows:
        made.add_row(*(Text(escaped(cell)) for cell in row))
    return made


def listen_to_warnings() -> None:
    """Show each distinct warning of envkit once, as one line on stderr."""
    logger = logging.getLogger("envkit")
    logger.handlers = [_Once()]
    logger.propagate = False


_LONGEST = 300  # characters of a warning: what was raised may quote anything


class _Once(logging.Handler):
    """Prints a record that was not printed before."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        text = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            text = " ".join(f"{text}: {type(error).__name__}: {error}".split())[:_LONGEST]
        if text not in self._seen:
            self._seen.add(text)
            say(f"envkit: {record.levelname.lower()}: {text}")
