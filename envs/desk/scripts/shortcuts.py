"""How often guesses that skip the work find the host: `python scripts/shortcuts.py [TASKS]`."""

import gzip
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from envkit_desk.logdesk import Level, LogDesk

from envkit import Blob
from envkit.data.keyed import KeyedRandom


class Medium(LogDesk):
    """The medium level."""

    config = Level(level="medium")


class Hard(LogDesk):
    """The hard level."""

    config = Level(level="hard")


def read(files: Mapping[str, Any]) -> list[list[str]]:
    """All lines as [time, host, service, level, request, message], in the order of the files."""
    lines = []
    for path in sorted(files):
        data = files[path].data if isinstance(files[path], Blob) else files[path]
        text = gzip.decompress(data).decode() if path.endswith(".gz") else data
        for line in text.splitlines() if not path.endswith(".csv") else ():
            whole = line.replace(" ", "T", 1) if path.count("/") == 2 else line
            parts = whole.split(" ", 4)
            request, _, message = parts[4].partition(" ") if "req=" in line else ("", "", parts[4])
            lines.append([*parts[:4], request, message])
    return lines


def most(hosts: Iterable[str]) -> str:
    """The host that occurs most often."""
    return Counter(hosts).most_common(1)[0][0]


def guesses(lines: list[list[str]]) -> dict[str, str]:
    """What each way of guessing says."""
    errors = [line for line in lines if line[3] == "ERROR"]
    said = {"most lines": most(line[1] for line in lines)}
    for rank, (host, _) in enumerate(Counter(line[1] for line in errors).most_common(12), 1):
        said[f"rank {rank} by ERROR lines"] = host
    said |= {"first line": lines[0][1], "last line": lines[-1][1]}
    said |= {"first ERROR line": errors[0][1], "last ERROR line": errors[-1][1]}
    for word in ("panic", "Kernel panic"):
        found = [line for line in lines if word in line[5]]
        if found:
            said |= {f"first `{word}`": found[0][1], f"last `{word}`": found[-1][1]}
    if errors[0][4]:
        said |= _by_request(sorted(lines))
    return said


def _by_request(lines: list[list[str]]) -> dict[str, str]:
    failed = {line[4] for line in lines if line[5].startswith("answered 5")}
    first: dict[str, str] = {}
    spoiled: set[tuple[str, str]] = set()
    for line in lines:
        if line[3] == "ERROR":
            first.setdefault(line[4], line[1])
            spoiled |= {(line[1], line[4])} if line[4] in failed else set()
    return {
        "most first errors, over all requests": most(first.values()),
        "most failed requests with an ERROR line": most(host for host, _ in sorted(spoiled)),
        "the right method by the clocks as they stand": most(first[one] for one in failed),
    }


def main() -> None:
    """Print the rates for every level."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    for env in (LogDesk, Medium, Hard):
        hits: Counter[str] = Counter()
        answers: Counter[str] = Counter()
        for index in range(count):
            key = hashlib.sha256(f"{env.__name__} {index}".encode()).digest()
            task = env.task("train", index, KeyedRandom(key))
            answers[task.gold.host] += 1
            said = guesses(read(task.world["shell"]))
            hits.update({name: host == task.gold.host for name, host in said.items()})
        sys.stdout.write(f"{env.config.level}: {len(answers)} answers in {count} tasks\n")
        for name, found in hits.most_common():
            sys.stdout.write(f"  {found / count:6.1%}  {name}\n")


if __name__ == "__main__":
    main()
