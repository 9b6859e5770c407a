"""Invented incidents: what many hosts log while one of them fails, and which one it was.

Hosts are alike before anything is drawn, and the one that fails is drawn among them evenly. It logs
no message that others don't log too, and louder hosts stand around it: their failures did no harm.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from random import Random

SERVICES = ("catalog", "billing", "search", "accounts", "stock", "mailer", "ledger")
BIRDS = (
    *(
        "auk",
        "avocet",
        "bittern",
        "bunting",
        "chough",
        "coot",
        "crake",
        "crane",
        "curlew",
        "dipper",
    ),
    *("dove", "dunlin", "eider", "falcon", "finch", "fulmar", "gannet", "godwit", "goose", "grebe"),
    *("grouse", "gull", "harrier", "heron", "hobby", "ibis", "jackdaw", "jay", "kestrel", "kite"),
    *(
        "knot",
        "lapwing",
        "lark",
        "linnet",
        "magpie",
        "martin",
        "merlin",
        "murre",
        "nightjar",
        "oriole",
    ),
    *("osprey", "ouzel", "owl", "petrel", "pipit", "plover", "puffin", "quail", "rail", "raven"),
    *("redwing", "robin", "rook", "ruff", "scoter", "shrike", "siskin", "skua", "snipe", "stork"),
)
HOSTS = 48

FAULTS = (
    "connection pool exhausted, {n} waiting",
    "read timed out after {n} ms",
    "no space left for segment {n}",
    "lock not granted within {n} ms",
    "checksum of block {n} does not match",
    "out of file descriptors at {n}",
)
KERNEL = ("kernel", "CRIT")
PANIC = "Kernel panic - not syncing"
PANICS = (
    "Attempted to kill init! exitcode={n}",
    "Fatal exception in interrupt, cpu {n}",
    "Out of memory and no killable processes ({n})",
    "VFS: Unable to mount root fs on block({n})",
    "hung_task: blocked tasks ({n})",
)
CHATTER = (
    ("cron", "INFO", "job {n} finished"),
    ("sshd", "INFO", "session {n} closed"),
    ("nginx", "INFO", "GET /items/{n} 200"),
    ("nginx", "WARN", "upstream took {n} ms"),
    ("app", "INFO", "worker {n} is idle"),
    ("app", "ERROR", "request {n} rejected"),
    ("disk", "WARN", "volume at {n} MB"),
    ("ntpd", "INFO", "offset {n} us"),
)
ALARMS = (
    ("app", "ERROR", "panic recovered in handler {n}: index out of range"),
    ("sysctl", "INFO", "kernel.panic = {n}"),
    ("watchdog", "WARN", "no panic seen for {n} days, test is due"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log. Times are milliseconds since the epoch, in UTC."""

    at: int
    host: str
    service: str
    level: str
    request: str
    message: str


@dataclass(frozen=True, slots=True)
class Blame:
    """Who began most of the failed requests, since when, and how many of them."""

    host: str
    since: int
    requests: int


def host_names(rng: Random) -> list[str]:
    """The names of all hosts, in no order."""
    return [f"{bird}-{rng.randint(10, 99)}" for bird in rng.sample(BIRDS, HOSTS)]


def start(rng: Random) -> int:
    """When a log begins: any second of some three years."""
    return 1_672_531_200_000 + rng.randrange(3 * 365 * 86_400) * 1_000


# ---- one log, one panic --------------------------------------------------------------------------


def panic_log(rng: Random) -> tuple[list[Line], str]:
    """A log of everyday lines in which one kernel really panics; and the host it runs on."""
    hosts, at = host_names(rng), start(rng)
    busy = rng.choices(hosts, k=2 * HOSTS)  # some hosts write several times as much as others
    events = [(host, *rng.choice(CHATTER)) for host in rng.choices(busy, k=420)]
    events += [(host, *rng.choice(ALARMS)) for host in rng.choices(hosts, k=24)]
    drilled = rng.sample(hosts, 8)
    for host in drilled:
        events.append((host, *KERNEL, f"{PANIC}: {rng.choice(PANICS)} drill"))
    written = Counter(host for host, *_ in events)
    loud = [host for host in hosts if written[host] + 1 >= max(written.values())]
    culprit = rng.choice(_all_but(hosts, {*drilled, *loud}))
    rng.shuffle(events)
    panic = (culprit, *KERNEL, f"{PANIC}: {rng.choice(PANICS)}")
    events.insert(rng.randint(20, len(events) - 20), panic)
    lines = []
    for host, service, level, message in events:
        at += rng.randint(5, 9_000)
        lines.append(Line(at, host, service, level, "", message.format(n=rng.randint(10, 9_999))))
    return lines, culprit


# ---- many services, one root cause ---------------------------------------------------------------


class Outage:
    """Two hours of requests through a gateway and seven services of six hosts each.

    `lines` are in order of time. A request that fails is answered with 502 to 504. The host that
    fails is called by the same few others, as behind a sticky load balancer; they complain more.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        names = host_names(rng)
        tiers = ["gateway", *rng.sample(SERVICES, len(SERVICES))]  # a service calls later ones
        self.hosts = {tier: names[number::8] for number, tier in enumerate(tiers)}
        self._service = {host: tier for tier, hosts in self.hosts.items() for host in hosts}
        self._tiers = tiers
        self._begin = start(rng)
        self._ids: set[str] = set()
        self.lines: list[Line] = []
        self._run()
        self.lines.sort(key=lambda line: (line.at, line.host, line.request))

    def _run(self) -> None:
        rng = self._rng
        behind = [host for tier in self._tiers[1:] for host in self.hosts[tier]]
        culprit = rng.choice(behind)
        others = _all_but(behind, {culprit})
        callers = self._path_to(culprit)
        fallback = rng.choice([host for host in others if host not in callers])
        count = rng.randint(8, 18)
        for _ in range(count):
            self._fail([rng.choice(self.hosts["gateway"]), *callers[1:], culprit], fallback)
        for host in rng.sample(others, rng.randint(5, 9)):
            for _ in range(rng.randint(1, 2)):
                path = _all_but(self._path_to(host), {culprit})  # it complains of nobody
                self._fail([*path, host], rng.choice(_all_but(others, {host})))
        neighbours = _all_but(self.hosts[self._service[culprit]], {culprit})
        harmless = [*rng.sample(neighbours, 2), *rng.sample(_all_but(others, {*neighbours}), 16)]
        louder = rng.randint(1, 12)  # drawn, so that the culprit's rank among the loud says little
        for number, host in enumerate(rng.sample(harmless, rng.randint(louder, len(harmless)))):
            times = count + rng.randint(5, 10) if number < louder else rng.randint(1, 7)
            for _ in range(times):
                self._recover([*self._path_to(host), host])
        for _ in range(rng.randint(0, 4)):
            self._recover([*callers, culprit])
        for host in rng.choices(behind, k=30):
            self._succeed([*self._path_to(host), host])

    def _path_to(self, host: str) -> list[str]:
        """A gateway host and up to two hosts of the services between it and `host`."""
        rng, between = self._rng, self._tiers[1 : self._tiers.index(self._service[host])]
        passed = set(rng.sample(between, min(len(between), rng.randint(0, 2))))
        tiers = ["gateway", *(tier for tier in between if tier in passed)]
        return [rng.choice(self.hosts[tier]) for tier in tiers]

    def _fail(self, path: list[str], fallback: str) -> None:
        """The last of the path fails, then a fallback does, then all callers complain."""
        trail = _Trail(self, path)
        trail.log(path[-1], "ERROR", self._fault())
        trail.log(fallback, "INFO", "accepted")
        for _ in range(2):
            trail.log(fallback, "ERROR", self._fault())
        for caller, callee in list(pairwise(path))[::-1]:
            for attempt in range(1, self._rng.randint(3, 5) if caller != path[0] else 2):
                message = f"call to {self._service[callee]} failed, attempt {attempt}"
                trail.log(caller, "ERROR", message)
        trail.log(path[0], "INFO", f"answered {self._rng.randint(502, 504)}")

    def _recover(self, path: list[str]) -> None:
        """The last of the path fails as loudly, but is asked again and answers."""
        trail = _Trail(self, path)
        trail.log(path[-1], "ERROR", self._fault())
        trail.log(path[-2], "WARN", f"call to {self._service[path[-1]]} is repeated")
        trail.log(path[0], "INFO", "answered 200")

    def _succeed(self, path: list[str]) -> None:
        _Trail(self, path).log(path[0], "INFO", "answered 200")

    def _fault(self) -> str:
        return self._rng.choice(FAULTS).format(n=self._rng.randint(10, 9_999))

    def new_request(self) -> tuple[str, int]:
        """An unused id, and when the request arrives."""
        while (request := f"{self._rng.getrandbits(32):08x}") in self._ids:
            pass
        self._ids.add(request)
        return request, self._begin + self._rng.randrange(7_200_000)

    def log(self, at: int, host: str, level: str, request: str, message: str) -> None:
        """Write one line."""
        self.lines.append(Line(at, host, self._service[host], level, request, message))

    def pause(self) -> int:
        """Milliseconds between two lines of a request: never 0, so that their order is certain."""
        return self._rng.randint(1, 60)

    def blame(self) -> Blame:
        """Who began most of the failed requests: found in the lines, not remembered."""
        failed = {line.request for line in self.lines if line.message.startswith("answered 50")}
        first: dict[str, Line] = {}
        for line in self.lines:
            if line.level == "ERROR" and line.request in failed:
                first.setdefault(line.request, line)
        ((host, requests),) = Counter(line.host for line in first.values()).most_common(1)
        since = min(line.at for line in first.values() if line.host == host)
        return Blame(host, since, requests)


class _Trail:
    """The lines of one request, each later than the one before; all on its path accept it."""

    def __init__(self, outage: Outage, path: list[str]) -> None:
        self._outage = outage
        self._request, self._at = outage.new_request()
        for host in path:
            self.log(host, "INFO", "accepted")

    def log(self, host: str, level: str, message: str) -> None:
        self._at += self._outage.pause()
        self._outage.log(self._at, host, level, self._request, message)


def _all_but(hosts: list[str], left_out: set[str]) -> list[str]:
    return [host for host in hosts if host not in left_out]
