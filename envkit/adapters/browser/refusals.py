"""From the browser library's errors to one line for the agent, the same line every time."""

from __future__ import annotations

import re

_KNOWN = (
    (r"action done", "it was, but the page that it leads to takes long"),
    (r"intercepts pointer events", "another element lies over it"),
    (r"element is not enabled|element is disabled", "it is disabled"),
    (r"element is not visible", "it is not visible"),
    (r"element is not stable", "it keeps moving"),
    (r"element is outside of the viewport", "it can't be scrolled into view"),
    (r"not attached|Element is not attached", "it went away meanwhile"),
    (r"not an? <input>|Element is not an <input>|cannot be filled", "it is no field for text"),
    (r"Element is not a <select>", "it is no list to select from"),
    (r"did not find some options", "it has no such option"),
    (r"Not an input|not an <input> element.*file|non-file input", "it is no file field"),
    (r"readonly|not editable", "it can't be edited"),
    (r"Malformed value", "the value does not fit the field"),
    (r"ERR_ABORTED", "the page could not be opened: it was given up (a download, or no content)"),
    (r"ERR_[A-Z_]+", "the page could not be opened"),
    (r"Timeout .*exceeded|Timeout", "it took too long"),
    (r"closed|crash", "its tab is closed"),
)


def reason(error: Exception) -> str:
    """Why it was not done. Nothing of the library's own words: they hold call logs and timings."""
    said = str(error)
    for pattern, meaning in _KNOWN:
        if re.search(pattern, said):
            return f"not done: {meaning}"
    return "not done: the browser refused it"
