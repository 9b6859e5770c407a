"""How lines become files: one per service, or per region in local time, rotated and packed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

from envkit_desk.incident import Line

REGIONS = (
    *(
        "athens",
        "bergen",
        "cairo",
        "dakota",
        "edmonton",
        "fiji",
        "goa",
        "hanoi",
        "iquique",
        "jakarta",
    ),
    *("kyoto", "lima", "malta", "nairobi", "osaka", "perth", "quito", "riga", "seoul", "toronto"),
)
OFFSETS = (-480, -420, -300, -210, -180, 60, 120, 180, 210, 330, 345, 480, 540, 570, 720)


def utc(at: int) -> str:
    """A time as `2024-05-14T03:12:07.412Z`."""
    return f"{_clock(at, 'T')}Z"


def one_file(lines: Sequence[Line]) -> str:
    """All lines, in the order given."""
    return "".join(f"{utc(line.at)} {line.host} {_rest(line)}\n" for line in lines)


def by_service(lines: Sequence[Line]) -> dict[str, str]:
    """A file for each service."""
    files: dict[str, list[Line]] = {}
    for line in lines:
        files.setdefault(f"logs/{line.service}.log", []).append(line)
    return {path: one_file(files[path]) for path in sorted(files)}


def by_region(lines: Sequence[Line], rng: Random) -> dict[str, str | bytes]:
    """Four regions with local clocks; each has its newest log, an older one, and a packed one."""
    hosts = sorted({line.host for line in lines})
    regions = rng.sample(REGIONS, 4)
    offsets = dict(zip(regions, rng.sample(OFFSETS, 4), strict=True))
    home = {host: regions[place % 4] for place, host in enumerate(rng.sample(hosts, len(hosts)))}
    table = "".join(f"{region},{_offset(offsets[region])}\n" for region in regions)
    files: dict[str, str | bytes] = {"logs/regions.csv": f"region,utc_offset\n{table}"}
    for region in regions:
        shift = offsets[region] * 60_000
        text = [
            f"{_clock(line.at + shift, ' ')} {line.host} {_rest(line)}\n"
            for line in lines
            if home[line.host] == region
        ]
        old, new = len(text) // 3, 2 * len(text) // 3
        files[f"logs/{region}/app.log"] = "".join(text[new:])
        files[f"logs/{region}/app.log.1"] = "".join(text[old:new])
        files[f"logs/{region}/app.log.2.gz"] = gzipped("".join(text[:old]).encode())
    return files


def gzipped(data: bytes) -> bytes:
    """A gzip file that holds `data` as it is.

    Not `gzip.compress`: builds of zlib compress differently, and one task is to have the same bytes
    on every machine.
    """
    packed = bytearray(b"\x1f\x8b\x08" + bytes(6) + b"\xff")
    blocks = [data[place : place + 0xFFFF] for place in range(0, len(data), 0xFFFF)] or [b""]
    for number, block in enumerate(blocks, 1):
        size = len(block)
        packed += bytes([number == len(blocks)])  # the last block is marked
        packed += size.to_bytes(2, "little") + (0xFFFF - size).to_bytes(2, "little") + block
    packed += zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    return bytes(packed)


def _clock(at: int, between: str) -> str:
    moment = datetime.fromtimestamp(at // 1_000, UTC)
    return f"{moment.isoformat(between)[:19]}.{at % 1_000:03d}"


def _offset(minutes: int) -> str:
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _rest(line: Line) -> str:
    request = f"req={line.request} " if line.request else ""
    return f"{line.service} {line.level} {request}{line.message}"
