"""How to work the answer out of the logs in a shell: the oracle's way, and ways that fall short."""

from __future__ import annotations

_READ_SERVICES = """
lines = []
for path in glob.glob("logs/*.log"):
    for line in open(path):
        lines.append(line.rstrip().split(" ", 5))
"""

_READ_REGIONS = """
offsets = {}
for row in csv.DictReader(open("logs/regions.csv")):
    offsets[row["region"]] = datetime.datetime.strptime(row["utc_offset"], "%z").utcoffset()
lines = []
for path in glob.glob("logs/*/app.log*"):
    offset = offsets[path.split("/")[1]]
    for line in (gzip.open if path.endswith(".gz") else open)(path, "rt"):
        day, clock, *rest = line.rstrip().split(" ", 6)
        at = datetime.datetime.fromisoformat(day + " " + clock)
        lines.append([at - offset, *rest])
"""

_BLAME = """
lines.sort()
failed = {request for at, host, service, level, request, message in lines
          if service == "gateway" and message.startswith("answered 5")}
first = {}
for at, host, service, level, request, message in lines:
    if level == "ERROR" and request in failed:
        first.setdefault(request, (at, host))
[(host, count)] = collections.Counter(host for at, host in first.values()).most_common(1)
"""

_ANSWER = """
open("answer.txt", "w").write(host + "\\n")
"""

_REPORT = """
since = min(at for at, by in first.values() if by == host)
since = since.isoformat(timespec="milliseconds") + "Z"
report = {"host": host, "first_failure_utc": since, "affected_requests": count}
json.dump(report, open("report.json", "w"))
"""


def _python(*parts: str) -> str:
    imports = "import collections, csv, datetime, glob, gzip, json"
    return f"python3 - <<'END'\n{imports}{''.join(parts)}END"


FIRST_HOST = "awk 'NR == 1 {print $2}'"

QUERIES = {
    "easy": f"grep 'Kernel panic' app.log | grep -v 'drill$' | {FIRST_HOST} > answer.txt",
    "medium": _python(_READ_SERVICES, _BLAME, _ANSWER),
    "hard": _python(_READ_REGIONS, _BLAME, _REPORT),
}
"""By level: a command that writes the right answer."""

_COUNT = f"sort | uniq -c | sort -rn | {FIRST_HOST} > answer.txt"

LOUDEST = {
    "easy": f"cut -d' ' -f2 app.log | {_COUNT}",
    "medium": f"cat logs/*.log | grep -w ERROR | cut -d' ' -f2 | {_COUNT}",
}
"""By level: a command that names the host with the most lines, or the most ERROR lines."""

_LOUDEST = """
loud = collections.Counter(host for at, host, service, level, *rest in lines if level == "ERROR")
[(host, count)] = loud.most_common(1)
first = {number: line[:2] for number, line in enumerate(lines) if line[3] == "ERROR"}
"""

LOUDEST_REPORT = _python(_READ_REGIONS, _LOUDEST, _REPORT)
"""The same as a report."""
