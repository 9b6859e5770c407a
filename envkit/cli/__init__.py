"""The command line. Thin: each command is a module, and imports what it needs when it runs.

Exit status: 0 done, 1 the thing checked fell short, 2 wrong use, 3 the machine lacks something,
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from envkit.cli.attack import attack
from envkit.cli.audit import audit
from envkit.cli.bench import bench
from envkit.cli.doctor import doctor
from envkit.cli.new import new
from envkit.cli.output import document, listen_to_warnings, say, stdout_for_the_document
from envkit.cli.packs import list_environments
from envkit.cli.rollout import rollout
from envkit.cli.train import train
from envkit.cli.validate import validate
from envkit.errors import EnvkitError, MissingError, RecordError, UsageError

FELL_SHORT, WRONG_USE, MISSING, STOPPED = 1, 2, 3, 130

app = typer.Typer(
    name="envkit",
    help="Build environments for language-model agents, and run agents in them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(version("envkit"))
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[  # `main` takes it out before; here it is documented
        bool, typer.Option("--debug", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command("list")(list_environments)
app.command()(new)
app.command()(validate)
app.command()(rollout)
app.command()(train)
app.command()(attack)
app.command()(audit)
app.command()(doctor)
app.command()(bench)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    _open_closed_streams()
    listen_to_warnings()
    with stdout_for_the_document() if "--json" in arguments else contextlib.nullcontext():
        return _run(arguments, debug=debug)


def _open_closed_streams() -> None:
    """Where the caller closed stdout or stderr, what is said there goes nowhere, and no file takes its number."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - for as long as we run


def _run(arguments: Sequence[str], *, debug: bool) -> int:
    try:
        status = app(list(arguments), prog_name="envkit", standalone_mode=False)
        sys.stdout.flush()
    except EnvkitError as error:
        return _fail(str(error), _status(error), arguments, debug=debug)
    except (OSError, SystemExit) as error:
        return _unwritten(error, arguments, debug=debug)
    except (typer.Abort, KeyboardInterrupt):
        return _fail("stopped", STOPPED, arguments, debug=debug)
    except Exception as error:
        # by version, typer brings its own click or takes the other: its errors are known by face
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        return _fail(_with_help(error, message()), WRONG_USE, arguments, debug=debug)
    return status if isinstance(status, int) else 0


def _unwritten(error: OSError | SystemExit, arguments: Sequence[str], *, debug: bool) -> int:
    """What to do where stdout or a disk takes no more; whatever else it is goes on."""
    # rich and typer make an exit of a pipe whose reader has seen enough
    seen_enough = isinstance(
        error if isinstance(error, OSError) else error.__context__, BrokenPipeError
    )
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if not (seen_enough or full):
        raise error
    # Under --json `sys.stdout` is another, so it is the one that the process was given. What is
    # left in its buffer is dropped here, for Python would complain of it at its end.
    stdout = sys.__stdout__.fileno() if sys.__stdout__ else 1
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout)
    if seen_enough:
        return 0
    full_disk = f"{os.strerror(errno.ENOSPC)}; make room, and try again"
    return _fail(full_disk, MISSING, arguments, debug=debug)


def _status(error: EnvkitError) -> int:
    if isinstance(error, UsageError | RecordError):
        return WRONG_USE
    return MISSING if isinstance(error, MissingError) else FELL_SHORT


def _with_help(error: Exception, message: str) -> str:
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "envkit")
    return f"{message}\nTry: {command} --help"


def _fail(message: str, status: int, arguments: Sequence[str], *, debug: bool) -> int:
    """Say what is wrong: on stderr and, where JSON was asked for, in the one document."""
    if debug:
        traceback.print_exc()
    say(f"envkit: error: {message}" if message else "envkit: error")
    if "--json" in arguments:
        document({"error": message, "status": status})
    return status
