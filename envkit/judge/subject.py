"""The driver of a subject call: runs inside a subject slot, reads one JSON document, calls, writes another.

Sent to the slot's `python3 -I -c` as text; standard library only. It shares its process with agent-written code, so
nothing it says is trusted: it knows no expected value, and what comes back is read by `strict_json` and compared
elsewhere. Its own work is to make honest answers exact: plain JSON types only, no subclass that lies in `__eq__`.
"""

import json
import os
import sys

MAX_REPLY = 1 << 20


def plain(value: object, depth: int = 0) -> bool:
    """Whether a value is made of JSON types exactly; a subclass of int or str is not."""
    if depth > 60:
        return False
    kind = type(value)
    if isinstance(value, (list, tuple)) and kind in (list, tuple):
        return all(plain(item, depth + 1) for item in value)
    if isinstance(value, dict) and kind is dict:
        return all(type(key) is str and plain(item, depth + 1) for key, item in value.items())
    return kind in (str, int, float, bool, type(None))


def load(path: str) -> object:
    """Import a module by its file, as a member of its package, with the package's parent on the path."""
    path = os.path.abspath(path)
    root, name = os.path.dirname(path), os.path.splitext(os.path.basename(path))[0]
    while os.path.exists(os.path.join(root, "__init__.py")):
        root, package = os.path.split(root)
        name = package + "." + name
    sys.path.insert(0, root)
    __import__(name)
    return sys.modules[name]


def main() -> None:
    """Answer every call of the document in order, each with its value or its problem."""
    out = os.dup(1)
    os.dup2(2, 1)  # what the subject prints is not an answer
    request = json.load(sys.stdin)
    answers = []
    for call in request:
        try:
            function = getattr(load(call["module"]), call["function"])
            value = function(*call["arguments"])
            if plain(value):
                answers.append({"value": json.dumps(value, allow_nan=False)})
            else:
                answers.append({"problem": "returned something that is not plain JSON"})
        except BaseException as error:  # noqa: BLE001 - a subject may exit
            answers.append({"problem": "raised " + type(error).__name__})
    with os.fdopen(out, "w") as stream:
        stream.write(json.dumps(answers)[:MAX_REPLY])
        stream.flush()
    os._exit(0)


main()
