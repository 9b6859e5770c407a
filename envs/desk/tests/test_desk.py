"""The pack's own tests: pure, without a sandbox. What a world must show is in test_pack.py."""

import gzip
import json
import subprocess
import sys
from collections import Counter
from random import Random

import pytest
from envkit_desk.bugfix import BugFix
from envkit_desk.bugfix import Level as BugLevel
from envkit_desk.exercises import EXERCISES, fill
from envkit_desk.incident import HOSTS, Outage, panic_log
from envkit_desk.layout import by_region, gzipped, utc
from envkit_desk.logdesk import Gold, LogDesk
from envkit_desk.logdesk import Level as LogLevel
from hypothesis import given
from hypothesis import strategies as st

from envkit import Evidence, Score
from envkit.data.evidence import FrozenEvidence, FrozenItem
from envkit.data.probe import Reply

BUGS = [(exercise, bug) for exercise in EXERCISES.values() for bug in exercise.bugs]
BUG_IDS = [f"{exercise.name}-{bug.name}" for exercise, bug in BUGS]


class MediumLogs(LogDesk):
    config = LogLevel(level="medium")


class HardLogs(LogDesk):
    config = LogLevel(level="hard")


class MediumBugs(BugFix):
    config = BugLevel(level="medium")


class HardBugs(BugFix):
    config = BugLevel(level="hard")


LOGS = (LogDesk, MediumLogs, HardLogs)
FIXES = (BugFix, MediumBugs, HardBugs)


def tasks(env, count):
    return [env.task("train", index, Random(index)) for index in range(count)]


def evidence_of(files, answer=""):
    items = tuple(
        FrozenItem(name=f"shell/{path}", data=text.encode()) for path, text in files.items()
    )
    return Evidence(FrozenEvidence(items=items, answer=answer), nonce=b"0123456789abcdef")


# ---- both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("env", [*LOGS, *FIXES])
def test_one_key_makes_one_task_and_keys_differ(env):
    first, second = tasks(env, 40), tasks(env, 40)
    assert first == second
    assert len({task.model_dump_json(exclude={"gold"}) for task in first}) == 40


@pytest.mark.parametrize("env", [*LOGS, *FIXES])
def test_worlds_fit_their_terminal_and_near_misses_abound(env):
    for task in tasks(env, 5):
        env.shell.Seed.model_validate(task.world["shell"])
        assert len(env.near_misses(task)) >= 6


# ---- logdesk -------------------------------------------------------------------------------------


@given(st.binary(max_size=200_000))
def test_gzipped_is_read_back(data):
    assert gzip.decompress(gzipped(data)) == data


@given(st.integers())
def test_the_culprit_is_one_of_many_and_never_the_loudest(seed):
    outage = Outage(Random(seed))
    blame = outage.blame()
    candidates = {
        host for tier, hosts in outage.hosts.items() if tier != "gateway" for host in hosts
    }
    errors = Counter(line.host for line in outage.lines if line.level == "ERROR")
    assert len(candidates) >= 40
    assert blame.host in candidates
    assert errors[blame.host] < max(errors.values())


def test_what_the_culprit_says_is_said_by_others_too():
    for seed in range(20):
        outage = Outage(Random(seed))
        culprit, words = outage.blame().host, {}
        for line in outage.lines:
            if not line.message.startswith(
                "call to"
            ):  # it may be the only one to call some service
                text = "".join(filter(str.isalpha, line.message))
                words.setdefault(text, set()).add(line.host)
        assert all(len(hosts) > 1 for hosts in words.values() if culprit in hosts)


def shortcuts(lines):
    errors = [line for line in lines if line.level == "ERROR"]
    ranks = Counter(line.host for line in errors).most_common(12)
    guesses = {f"error rank {place}": host for place, (host, _) in enumerate(ranks)}
    counted = Counter(line.host for line in lines).most_common()
    guesses |= {"most lines": counted[0][0], "fewest lines": counted[-1][0]}
    guesses |= {"first": lines[0].host, "last": lines[-1].host}
    return guesses | {"first error": errors[0].host, "last error": errors[-1].host}


def test_no_shortcut_finds_the_culprit():
    hits, count = Counter(), 150
    for seed in range(count):
        outage = Outage(Random(seed))
        culprit = outage.blame().host
        hits.update(name for name, host in shortcuts(outage.lines).items() if host == culprit)
    assert max(hits.values()) <= 0.2 * count, hits  # 0.1 is usual; the rest is chance


def test_a_panic_is_no_louder_than_its_drills():
    hits, count = Counter(), 150
    for seed in range(count):
        lines, culprit = panic_log(Random(seed))
        assert len({line.host for line in lines}) > HOSTS * 3 / 4
        panics = [line for line in lines if "panic" in line.message]
        guesses = shortcuts(lines) | {"first panic": panics[0].host, "last panic": panics[-1].host}
        hits.update(name for name, host in guesses.items() if host == culprit)
    assert max(hits.values()) <= 0.2 * count, hits


def test_local_clocks_are_never_utc():
    for seed in range(30):
        table = by_region(Outage(Random(seed)).lines, Random(seed))["logs/regions.csv"]
        offsets = [row.split(",")[1] for row in table.splitlines()[1:]]
        assert len(set(offsets)) == 4
        assert "+00:00" not in offsets


def test_utc_is_written_as_the_prompt_says():
    assert utc(1_715_656_327_412) == "2024-05-14T03:12:07.412Z"


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("owl-11", 1.0),
        ("owl-11\n", 1.0),
        ("OWL-11", 0.0),
        ("owl-11 owl-12", 0.0),
        ("the host is owl-11", 0.0),
        ("", 0.0),
    ],
)
def test_the_name_alone_is_right(text, reward):
    assert LogDesk.grade(evidence_of({"answer.txt": text}), Gold(host="owl-11")).reward == reward


REPORT = {
    "host": "owl-11",
    "first_failure_utc": "2024-05-14T03:12:07.412Z",
    "affected_requests": 12,
}


@pytest.mark.parametrize(
    ("change", "reward"),
    [
        ({}, 1.0),
        ({"host": "owl-12"}, 0.0),
        ({"affected_requests": 13}, 0.0),
        ({"affected_requests": 12.0}, 0.0),
        ({"affected_requests": "12"}, 0.0),
        ({"first_failure_utc": "2024-05-14T05:12:07.412Z"}, 0.0),
        ({"note": "and so on"}, 0.0),
    ],
)
def test_the_whole_report_is_right(change, reward):
    written = evidence_of({"report.json": json.dumps(REPORT | change)})
    assert LogDesk.grade(written, Gold(**REPORT)).reward == reward


@given(st.text(), st.text())
def test_log_grading_is_total_and_saying_is_not_writing(text, said):
    evidence = evidence_of({"answer.txt": text, "report.json": text}, answer=said)
    expected = 1.0 if text.strip() == "owl-11" else 0.0
    assert LogDesk.grade(evidence, Gold(host="owl-11")).reward == expected
    assert LogDesk.grade(evidence, Gold(**REPORT)).reward == 0.0


# ---- bugfix --------------------------------------------------------------------------------------

DRIVER = """
import importlib, json, sys
sys.path.insert(0, "src")
module, function, calls = json.load(sys.stdin)
function = getattr(importlib.import_module(module), function)
seen = []
for arguments in calls:
    try:
        seen.append(function(*arguments))
    except Exception as error:
        seen.append({"raised": type(error).__name__})
json.dump(seen, sys.stdout)
"""


def drawn_for(exercise, rng):
    return {"package": "amber_mill"} | {
        name: rng.choice(words) for name, words in exercise.names.items()
    }


def call_all(folder, drawn, sources, calls):
    """What the entry of a package gives for many arguments, in a process of its own."""
    package = folder / "src" / drawn["package"]
    package.mkdir(parents=True, exist_ok=True)
    for module, source in sources.items():
        (package / f"{drawn[module]}.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-B", "-c", DRIVER],
        cwd=folder,
        input=json.dumps([f"{drawn['package']}.{drawn['core']}", drawn["main"], calls]),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def sources_of(exercise, drawn):
    return {module: exercise.source(module, drawn) for module in ("core", "helpers")}


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
def test_two_implementations_agree(exercise, tmp_path):
    rng = Random(1)
    for number in range(4):
        drawn = drawn_for(exercise, rng)
        calls = [exercise.inputs(rng, drawn) for _ in range(300)]
        calls += [bug.expose(rng, drawn) for bug in exercise.bugs for _ in range(20)]
        expected = [exercise.reference(drawn, *arguments) for arguments in calls]
        seen = call_all(tmp_path / str(number), drawn, sources_of(exercise, drawn), calls)
        assert json.dumps(seen) == json.dumps(expected)


@pytest.mark.parametrize(("exercise", "bug"), BUGS, ids=BUG_IDS)
def test_every_bug_shows_whenever_it_should(exercise, bug, tmp_path):
    rng = Random(2)
    drawn = drawn_for(exercise, rng)
    sources = sources_of(exercise, drawn)
    right, wrong = fill(bug.right, drawn), fill(bug.wrong, drawn)
    assert sources[bug.module].count(right) == 1
    sources[bug.module] = sources[bug.module].replace(right, wrong)
    assert sources[bug.module].count(wrong) == 1
    calls = [bug.expose(rng, drawn) for _ in range(60)]
    seen = call_all(tmp_path, drawn, sources, calls)
    for arguments, value in zip(calls, seen, strict=True):
        assert value != exercise.reference(drawn, *arguments), arguments


PAIRS = [
    (exercise, core, helper)
    for exercise in EXERCISES.values()
    for core in exercise.bugs
    for helper in exercise.bugs
    if core.module == "core" and helper.module == "helpers" and helper.name not in core.never_with
]


def test_there_is_enough_to_draw_from():
    assert len(EXERCISES) >= 10
    assert len(BUGS) >= 40
    assert {exercise.name for exercise, _, _ in PAIRS} == set(EXERCISES)


@pytest.mark.parametrize(
    ("exercise", "core", "helper"),
    PAIRS,
    ids=["-".join(part.name for part in pair) for pair in PAIRS],
)
def test_neither_of_two_bugs_hides_the_other(exercise, core, helper, tmp_path):
    rng = Random(3)
    drawn = drawn_for(exercise, rng)
    sources = sources_of(exercise, drawn)
    for bug in (core, helper):
        changed = sources[bug.module].replace(fill(bug.right, drawn), fill(bug.wrong, drawn))
        sources[bug.module] = changed
    calls = [bug.expose(rng, drawn) for bug in (core, helper) for _ in range(30)]
    seen = call_all(tmp_path, drawn, sources, calls)
    for arguments, value in zip(calls, seen, strict=True):
        assert value != exercise.reference(drawn, *arguments), arguments


@pytest.mark.parametrize("env", FIXES)
def test_seeded_code_fails_until_every_fix_is_made(env, tmp_path):
    for number, task in enumerate(tasks(env, 15)):
        gold, exercise = task.gold, EXERCISES[task.gold.exercise]
        calls = [gold.reported, *gold.hidden]
        expected = [exercise.reference(gold.drawn, *arguments) for arguments in calls]
        files = dict(task.world["shell"])
        for step, fix in enumerate(gold.fixes):
            sources = {
                module: files[f"src/{gold.drawn['package']}/{gold.drawn[module]}.py"]
                for module in ("core", "helpers")
            }
            seen = call_all(tmp_path / f"{number}-{step}", gold.drawn, sources, calls)
            assert seen[1:] != expected[1:]
            assert step > 0 or seen[0] != expected[0], "the report shows nothing"
            assert files[fix.path].count(fix.wrong) == 1
            files[fix.path] = files[fix.path].replace(fix.wrong, fix.right)
        for module in ("core", "helpers"):
            path = f"src/{gold.drawn['package']}/{gold.drawn[module]}.py"
            assert files[path] == exercise.source(module, gold.drawn)


def graded(task, evidence, answer):
    """Play the probe host: `answer` gives the reply to each probe."""
    grading = BugFix.grade(evidence, task.gold)
    probes = next(grading)
    with pytest.raises(StopIteration) as end:
        grading.send([answer(probe) for probe in probes])
    assert isinstance(end.value.value, Score)
    return end.value.value.reward, probes


@pytest.mark.parametrize("env", FIXES)
def test_only_the_right_values_score(env):
    task = tasks(env, 1)[0]
    exercise, drawn = EXERCISES[task.gold.exercise], task.gold.drawn
    evidence = evidence_of(task.world["shell"])

    def right(probe):
        return Reply(ok=True, stdout=json.dumps(exercise.reference(drawn, *probe.arguments)))

    reward, probes = graded(task, evidence, right)
    assert reward == 1.0
    assert len(probes) >= 10
    last = probes[-1]
    for wrong in (
        Reply(ok=True, stdout="null"),
        Reply(ok=False, problem="raised SystemExit"),
        Reply(ok=False, problem="timeout"),
        Reply(ok=True, stdout="NaN"),
    ):
        reward, _ = graded(
            task,
            evidence,
            lambda probe, w=wrong: w if probe.arguments == last.arguments else right(probe),
        )
        assert reward == 0.0


def test_half_of_the_inputs_come_from_the_episode():
    task = tasks(BugFix, 1)[0]
    files = evidence_of(task.world["shell"]).frozen
    batches = [
        next(BugFix.grade(Evidence(files, nonce=nonce), task.gold)) for nonce in (b"a", b"b")
    ]
    one, other = ([json.dumps(probe.arguments) for probe in batch] for batch in batches)
    assert one[: len(task.gold.hidden)] == other[: len(task.gold.hidden)]
    assert one[len(task.gold.hidden) :] != other[len(task.gold.hidden) :]


def test_without_the_module_nothing_is_asked():
    task = tasks(BugFix, 1)[0]
    with pytest.raises(StopIteration) as end:
        next(BugFix.grade(evidence_of({"src/other.py": ""}), task.gold))
    assert end.value.value.reward == 0.0
