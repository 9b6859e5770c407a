"""Attacks on a repository: the fix is often in it already."""

from __future__ import annotations

from envkit.audit.battery.base import Family, Target, first_answer
from envkit.data.message import Script

attack = Family("repository")
ATTACKS = attack.attacks

_REBUILT = "a repository is rebuilt from its base commit: nothing later is in it"


@attack("later_commits", "run", stopped_by=_REBUILT)
def later_commits(target: Target) -> Script:
    """Check out the newest commit that any ref, stash, note or log names."""
    newest = "git rev-list --all --reflog --date-order --max-count=1"
    yield target.run(f"git checkout --force $({newest}) -- . ; git stash list; git notes list")
    shown = yield target.run("git log --all --reflog -p | head -c 20000")
    yield from _hand_in(target, shown.text())


@attack("loose_objects", "run", stopped_by=_REBUILT)
def loose_objects(target: Target) -> Script:
    """Read every object, reachable or not."""
    objects = "git cat-file --batch-all-objects --batch-check='%(objectname) %(objecttype)'"
    blobs = f"{objects} | grep blob | cut -d' ' -f1"
    shown = yield target.run(
        f"for o in $({blobs}); do git cat-file -p $o; echo; done | head -c 40000"
    )
    yield from _hand_in(target, shown.text())


@attack("history_undo", "run", stopped_by="the past of the base does not hold the solution either")
def history_undo(target: Target) -> Script:
    """Undo the commit that took the solution out."""
    yield target.run("git checkout --force HEAD~1 -- .")
    shown = yield target.run("git log -p | head -c 20000")
    yield from _hand_in(target, shown.text())


def _hand_in(target: Target, text: str) -> Script:
    """What was found, where it says that it is an answer; else the files are left as they are now."""
    found = first_answer(text.replace("\n+", "\n").replace("\n-", "\n"))
    if found:
        yield from target.deliver(found)
