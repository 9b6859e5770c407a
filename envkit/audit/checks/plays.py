"""Checks on episodes: the oracle earns everything, ignorance nothing, and no attack gets through."""

from __future__ import annotations

from collections import Counter
from statistics import mean

from envkit.audit.battery import attacks
from envkit.audit.checks.base import Found, share
from envkit.audit.floors import FLOORS
from envkit.audit.play import Played
from envkit.audit.seen import Seen
from envkit.data.score import Finding, Invalid
from envkit.monitor.monitor import TRIPPED

FEW_NEAR_MISSES = 2
LUCK = 0.2  # the share of random episodes that may score where answers are few
_MOST = 3  # findings of one kind


def oracle(seen: Seen) -> Found:
    """`solve` earns 1 on every task."""
    played = list(seen.played("oracle"))
    failed = [play for play in played if play.reward != 1.0]
    for play in failed[:_MOST]:
        why = f"the oracle earned {_said(play)}"
        yield Finding("oracle.fails", "critical", play.place, why, "mend solve, grade or the task")
    turns = [play.turns for play in played if play.reward == 1.0]
    return {
        "episodes": len(played), "solved": len(played) - len(failed),
        "turns": mean(turns) if turns else None,
    }  # fmt: skip


def floors(seen: Seen) -> Found:
    """Doing nothing, repeating the prompt, declining, and calling tools at random earn nothing."""
    rewards: dict[str, list[float]] = {}
    for play in seen.played("floor", "random"):
        if play.reward is not None:
            rewards.setdefault(play.variant or "random", []).append(play.reward)
    for name, got in rewards.items():
        paid = [reward for reward in got if reward > 0]
        if paid:
            lucky = name == "random" and len(paid) <= LUCK * len(got)
            seen_ = f"{len(paid)} of {len(got)} episodes scored, the best {max(paid):g}"
            remedy = "grade what the task asks for; nothing else may earn a reward"
            if lucky:
                remedy = "draw answers from more values"
            yield Finding(f"floor.{name}", "low" if lucky else "high", seen.place, seen_, remedy)
    return {name: max(got) for name, got in sorted(rewards.items())}


def near_misses(seen: Seen) -> Found:
    """What is wrong on purpose earns less than 1, and there is enough of it."""
    best: dict[str, float] = {}
    played = list(seen.played("near-miss"))
    for play in played:
        if play.score is not None:  # of several seats, the one that is wronged may well earn
            best[str(play.variant)] = max(best.get(str(play.variant), 0.0), play.score)
        else:
            why = f"{play.variant}: {play.detail}"
            yield Finding("near-miss.broken", "high", play.place, why, "mend the script")
    for name, reward in best.items():
        if reward == 1.0:
            remedy = "grade must tell it from what is right"
            yield Finding("near-miss.passes", "high", seen.place, f"{name!r} earned 1", remedy)
    if seen.plays and len(best) < FEW_NEAR_MISSES:
        told = f"{len(best)} near-misses; at least {FEW_NEAR_MISSES} are needed"
        remedy = "add scripts that are almost right"
        yield Finding("near-miss.few", "medium", seen.place, told, remedy)
    return {
        "near_misses": len(best),
        "below_1": sum(reward < 1.0 for reward in best.values()),
        "episodes": len(played),
    }


def battery(seen: Seen) -> Found:
    """Every attack that applies earns nothing; one without a verdict proves nothing."""
    best: dict[str, float] = {}
    lost: Counter[str] = Counter()
    for play in seen.played("attack", "floor"):
        if play.reward is None:
            lost[str(play.variant)] += 1
            continue
        name = str(play.variant)
        best[name] = max(best.get(name, 0.0), play.reward)
    stopped = {one.name: one.stopped_by for one in attacks()}
    for name, reward in best.items():
        if reward > 0.0 and name not in FLOORS:
            remedy = f"what should stop it: {stopped[name]}"
            yield Finding(f"attack.{name}", "high", seen.place, f"it earned {reward:g}", remedy)
    scored = [name for name, reward in best.items() if reward > 0.0]
    unsettled = sorted(lost.keys() - best.keys())
    if unsettled:
        seen.missing.append(f"attacks without a verdict: {', '.join(unsettled)}")
    return {
        "applied": len(best) + len(unsettled), "scored": scored, "at_zero": len(best) - len(scored),
        "unsettled": unsettled, "not_applying": len(seen.others),
    }  # fmt: skip


def validity(seen: Seen) -> Found:
    """Nobody gets out of a bad score by making an episode invalid."""
    shares: dict[str, float | None] = {}
    for policies in (("oracle",), ("attack", "floor", "random")):
        played = list(seen.played(*policies))
        lost = [play for play in played if isinstance(play.verdict, Invalid)]
        shares[policies[0]] = share(len(lost), len(played))
        reasons = Counter(
            play.verdict.reason.value for play in lost if isinstance(play.verdict, Invalid)
        )
        if lost and policies[0] == "attack" and (shares["attack"] or 0) > (shares["oracle"] or 0):
            told = f"{len(lost)} of {len(played)} episodes of attacks are invalid ({dict(reasons)})"
            remedy = "what an agent breaks must be a score: find what the attack did"
            yield Finding("invalid.attacks", "high", lost[0].place, told, remedy)
    return {"invalid_share": shares}


def bait(seen: Seen) -> Found:
    """Looking around trips no honeytoken; writing it down costs the reward."""
    tripped = 0
    for play in seen.played("explorer"):
        for finding in play.findings:
            tripped += finding.rule == TRIPPED
            if finding.rule == TRIPPED:
                remedy = "honest reading must be free: report this"
                yield Finding("bait.trips", "high", play.place, finding.evidence, remedy)
    baited = [play for play in seen.played("baited") if play.baited]
    for play in (play for play in baited if play.score):
        told = f"the oracle with the bait beside its first call earned {play.score:g}"
        yield Finding("bait.paid", "high", play.place, told, "keep the monitor on")
    return {
        "explorations": sum(len(play.tools) for play in seen.played("explorer")), "tripped": tripped,
        "baited_reward": max((play.score or 0.0 for play in baited), default=None),
    }  # fmt: skip


def poison(seen: Seen) -> Found:
    """Evidence that breaks graders is a score of 0, and never invalid."""
    for graded in seen.poisoned:
        if graded.reward is None:
            told = f"{graded.what}: {getattr(graded.verdict, 'detail', '')}"
            remedy = "make grade total: bound every input before computing with it"
            yield Finding("poison.invalid", "high", seen.place, told, remedy)
        elif graded.reward > 0 and graded.whole:
            told = f"{graded.what} earned {graded.reward:g}"
            yield Finding("poison.paid", "high", seen.place, told, "compare whole values")
        elif graded.rules:
            remedy = "make grade total: bound every input before computing with it"
            yield Finding("poison.breaks-grader", "high", seen.place, graded.what, remedy)
    scores = sum(graded.reward is not None for graded in seen.poisoned)
    return {"artefacts": len(seen.poisoned), "scores": scores}


def world(seen: Seen) -> Found:
    """What the world itself reported while it was used."""
    told: dict[tuple[str, str], Finding] = {}
    for play in seen.plays:
        for finding in play.findings:
            told.setdefault((finding.rule, finding.evidence), finding)
    rules = Counter(finding.rule for finding in told.values())
    for play in seen.played("oracle"):
        for finding in play.findings:  # under attack, refusals are what should be there
            yield Finding(
                f"world.{finding.rule}",
                finding.severity,
                play.place,
                finding.evidence,
                finding.remedy,
            )
    for finding in told.values():
        if finding.rule in ("handler-broke", "tool-raised"):
            yield Finding(
                f"world.{finding.rule}", "medium", finding.place, finding.evidence, finding.remedy
            )
    return {"reports": dict(rules)}


def _said(play: Played) -> str:
    if play.reward is None:
        return f"no verdict: {play.detail}"
    checks = getattr(play.verdict, "checks", {})
    failed = ", ".join(name for name, check in checks.items() if not check.passed)
    return f"{play.reward:g} (failed: {failed or 'nothing'}; ended by {play.ending})"
