"""What an agent may get wrong, and the sentences that it is told."""

from __future__ import annotations

from envkit.adapters.memory import paths
from envkit.toolbox import ToolRefusal, clip


def normal(path: str) -> str:
    """A path that may be used. Raises ToolRefusal."""
    try:
        return paths.normal(path)
    except ValueError as refused:
        raise ToolRefusal(f"Error: {refused}.") from None


def sound(content: str) -> str:
    """Text that can be written down. Raises ToolRefusal."""
    try:
        content.encode()
    except UnicodeEncodeError:
        raise ToolRefusal("The text has characters that are no valid Unicode.") from None
    return content


def missing(path: str) -> ToolRefusal:
    """Nothing is there."""
    return ToolRefusal(f"Error: The path {path} does not exist. Please provide a valid path.")


def line_range(asked: list[int] | None, lines: int) -> tuple[int, int | None]:
    """First and last line to show; None: to the end. Raises ToolRefusal."""
    if asked is None:
        return 1, None
    if len(asked) != 2 or not 1 <= asked[0] <= lines or (asked[1] != -1 and asked[1] < asked[0]):
        raise ToolRefusal(
            f"view_range must be two lines, the first from 1 to {lines}, the last not before it, or -1."
        )
    return asked[0], None if asked[1] == -1 else min(asked[1], lines)


def not_once(path: str, old: str, content: str, times: int) -> str:
    """Why a text that does not stand there exactly once is not replaced."""
    start = "No replacement was performed"
    if not old:
        return f"{start}: old_str is empty; use insert to add text."
    if not times:
        return f"{start}, old_str `{clip(old, 200)}` did not appear verbatim in {path}."
    rows = [str(number) for number, line in enumerate(content.split("\n"), 1) if old in line][:20]
    where = f" in lines {', '.join(rows)}" if rows else ""
    return f"{start}. old_str appears {times} times{where}. Please ensure it is unique."
