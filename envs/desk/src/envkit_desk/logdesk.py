"""`desk/logdesk`: find the host that an incident began on.

Easy: the one kernel that really panicked, in one log. Medium: the root cause of failed requests, in
a log per service. Hard: the same from rotated logs in four time zones, with a report to write.
"""

from __future__ import annotations

import json
from random import Random
from typing import ClassVar, Literal

from envkit_validators import exact
from pydantic import BaseModel

from envkit import Config, Env, Evidence, Limits, Score, Script, Task, Terminal, call, say
from envkit_desk.incident import Outage, panic_log
from envkit_desk.layout import by_region, by_service, one_file, utc
from envkit_desk.queries import FIRST_HOST, LOUDEST, LOUDEST_REPORT, QUERIES


class Level(Config):
    """How much has to be put together to find the host."""

    level: Literal["easy", "medium", "hard"] = "easy"


class Gold(BaseModel):
    """The host; for a report also when it first failed and how many requests it spoiled."""

    host: str
    first_failure_utc: str | None = None
    affected_requests: int | None = None


class LogDesk(Env[Gold]):
    """Find the host that an incident began on, from its logs."""

    version = 1
    splits: ClassVar = {"train": 2000, "test": 500}
    Config = Level
    config = Level()
    shell = Terminal()
    evidence: ClassVar = [shell.files("answer.txt"), shell.files("report.json")]

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task[Gold]:
        """Invent an incident, write its logs down, and look up in them who is to blame."""
        level = cls.config.level
        files: dict[str, str] | dict[str, str | bytes]
        if level == "easy":
            lines, host = panic_log(rng)
            files, gold, text = {"app.log": one_file(lines)}, Gold(host=host), EASY
        else:
            outage = Outage(rng)
            blame = outage.blame()
            files, gold, text = by_service(outage.lines), Gold(host=blame.host), MEDIUM
            if level == "hard":
                since, count = utc(blame.since), blame.requests
                files, text = by_region(outage.lines, rng), HARD
                gold = Gold(host=blame.host, first_failure_utc=since, affected_requests=count)
        return Task(
            prompt=f"INC-{rng.randint(10_000, 99_999)}\n\n{text}",
            world={"shell": files},
            gold=gold,
            limits=Limits(turns=16, seconds=120),
            tags=(level,),
        )

    @staticmethod
    def grade(evidence: Evidence, gold: Gold) -> Score:
        """The one right name, or the whole right report; there is no half a culprit."""
        if gold.first_failure_utc is None:
            return Score.all(host=exact(evidence.text("shell/answer.txt"), gold.host))
        return Score.all(report=exact(evidence.json("shell/report.json"), gold.model_dump()))

    @staticmethod
    def solve(task: Task[Gold]) -> Script:
        """Look around, then work the answer out of the logs; the gold is not needed."""
        yield call("shell_run", command="find . -type f; head -n 3 $(find . -name '*.log')")
        yield call("shell_run", command=QUERIES[_level(task)])
        yield say("The answer is written.")

    @staticmethod
    def near_misses(task: Task[Gold]) -> dict[str, Script]:
        """What one gets by stopping half-way, or by being right and careless with the format."""
        level, gold = _level(task), task.gold
        if level == "hard":
            report = gold.model_dump()
            as_text = {**report, "affected_requests": str(gold.affected_requests)}
            return {
                "loudest": _run(LOUDEST_REPORT),
                "local_clocks": _run(QUERIES["hard"].replace("at - offset", "at")),
                "all_failures": _run(QUERIES["hard"].replace(": count}", ": len(failed)}")),
                "number_as_text": _write("report.json", json.dumps(as_text)),
                "host_alone": _write("report.json", json.dumps({"host": gold.host})),
                "only_said": _only_say(json.dumps(report)),
            }
        half_way = {"loudest": _run(LOUDEST[level])}
        if level == "easy":
            half_way["drill"] = _run(f"grep drill app.log | {FIRST_HOST} > answer.txt")
        else:
            half_way["harmless"] = _run(QUERIES["medium"].replace("answered 5", "answered"))
        return half_way | {
            "all_hosts": _run("cat $(find . -name '*.log') | cut -d' ' -f2 | sort -u > answer.txt"),
            "nothing": _write("answer.txt", ""),
            "capitals": _write("answer.txt", gold.host.upper()),
            "sentence": _write("answer.txt", f"The host is {gold.host}."),
            "only_said": _only_say(gold.host),
        }


# ---- what the agent reads ------------------------------------------------------------------------

EASY = """\
One of our machines had a kernel panic ("Kernel panic - not syncing"), and app.log is what all of
them logged: time, host, program, level, message. Panics that end in "drill" were staged, and a
program that recovers from a panic of its own is fine, so neither counts.

Please write the name of the one host that really panicked to answer.txt: the name as it stands in
the log, and nothing else.
"""

BLAME = """\
The gateway logs how it answered each request ("answered STATUS"); from 500 on, the request failed.
To blame for a failed request is the host with the earliest ERROR line of that request (req=...),
whoever complains after it. Errors in requests that were answered with 200 all the same did no harm.
One host is to blame for most of the failed requests: I need to know which.
"""

MEDIUM = f"""\
Requests failed, and logs/ has a file for each service: time (UTC), host, service, level, request,
message.

{BLAME}
Please write its name to answer.txt: the name as it stands in the logs, and nothing else.
"""

HARD = f"""\
Requests failed, and logs/ has a folder for each region, with rotated files (the oldest is packed):
date, time, host, service, level, request, message. Every region logs in its own local time;
logs/regions.csv says how far each is from UTC. A request goes through several regions.

{BLAME}
Please write report.json, an object with exactly these three fields:
- "host": its name, as it stands in the logs
- "first_failure_utc": the UTC time of its first ERROR line in a request that it is to blame for, in
  the form "2024-05-14T03:12:07.412Z"
- "affected_requests": the number of failed requests that it is to blame for
"""


# ---- scripts -------------------------------------------------------------------------------------


def _level(task: Task[Gold]) -> str:
    return task.tags[0]


def _run(command: str) -> Script:
    yield call("shell_run", command=command)
    yield say("The answer is written.")


def _write(path: str, text: str) -> Script:
    yield call("shell_create", path=path, text=text)
    yield say("The answer is written.")


def _only_say(text: str) -> Script:
    yield say(text)
