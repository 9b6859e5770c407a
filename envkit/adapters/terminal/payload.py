"""What is sent into a sandbox over its stdin: the supervisor's sources and its configuration.

Neither is ever on a command line or in a file that the agent could read.
"""

from __future__ import annotations

import functools
import json
import struct
from importlib import resources
from typing import Any

_MODULES = "walls loop process files export shell programs link supervisor".split()

BOOTSTRAP = """\
import os
def take(n):
    b = b''
    while len(b) < n:
        c = os.read(0, n - len(b))
        if not c: os._exit(0)
        b += c
    return b
exec(compile(take(int.from_bytes(take(4), 'big')), 'payload', 'exec'))
"""
"""All that stands on the sandbox's command line: read a length and that many bytes, run them."""

_LOADER = """
import gc, json, sys, types
gc.disable()
package = types.ModuleType("inside")
package.__path__ = []
sys.modules["inside"] = package
for name, source in SOURCES:
    module = types.ModuleType("inside." + name)
    module.__package__ = "inside"
    sys.modules[module.__name__] = module
    setattr(package, name, module)
    exec(compile(source, name, "exec"), module.__dict__)
gc.freeze()
gc.enable()
module.main(json.loads(CONFIG))
"""


@functools.cache
def _sources() -> tuple[tuple[str, str], ...]:
    folder = resources.files(__package__) / "inside"
    return tuple((name, (folder / f"{name}.py").read_text()) for name in (*_MODULES, "keeper"))


def payload(config: dict[str, Any]) -> bytes:
    """The bytes that the bootstrap reads: length, then a program that starts the keeper."""
    program = f"SOURCES = {_sources()!r}\nCONFIG = {json.dumps(config)!r}\n{_LOADER}".encode()
    return struct.pack(">I", len(program)) + program
