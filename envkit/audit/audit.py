"""`audit`: gather what has to be played, judge it by every check, write the card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from envkit.audit.card import Card, card
from envkit.audit.checks import CHECKS, RANK, WORLDLY
from envkit.audit.checks.base import Check, Found, Measures
from envkit.audit.gather import gather
from envkit.audit.seen import AuditSettings, Seen, draw, sizes, worker_for
from envkit.data.score import Finding, Severity
from envkit.errors import EnvkitError
from envkit.judge.worker import AuthorError
from envkit.registry import resolve


@dataclass(frozen=True)
class Report:
    """What an audit of one environment came to."""

    spec: str
    findings: tuple[Finding, ...]  # worst first
    measures: dict[str, Measures]  # by check
    card: Card

    @property
    def complete(self) -> bool:
        """Whether everything ran and all of the card was measured; else nothing found does not mean clean."""
        return self.card.complete

    def falls_short(self, fail_on: Severity) -> bool:
        """Whether there is a finding as bad as that, or an attack scored."""
        bad = any(RANK[finding.severity] >= RANK[fail_on] for finding in self.findings)
        return bad or bool(self.measures.get("attacks", {}).get("scored"))

    def as_json(self) -> dict[str, Any]:
        """The document of `audit --json`."""
        return {
            "spec": self.spec,
            "findings": [asdict(finding) for finding in self.findings],
            "card": self.card.model_dump(mode="json"),
            "measures": self.measures,
            "digest": self.card.digest,
            "complete": self.complete,
        }


async def audit(
    settings: AuditSettings, tell: Callable[[object], None] = lambda done: None
) -> Report:
    """Audit one environment. Raises UsageError where there is none of this name."""
    resolved = resolve(settings.spec)
    seen = Seen(resolved, settings, worker_for(resolved))
    findings: list[Finding] = []
    for split, size in sizes(resolved, settings.tasks):
        for index in range(size):
            try:
                seen.drawn.append(draw(resolved, seen.worker, split, index))
            except (EnvkitError, AuthorError) as error:
                remedy = "mend task(); every field of it is checked"
                findings.append(
                    Finding("data.no-task", "critical", f"{split}/{index}", str(error), remedy)
                )
    if not seen.drawn:
        raise AuthorlessError(findings)
    await gather(seen, tell)
    measures: dict[str, Measures] = {}
    for name, check in CHECKS.items():
        if name in WORLDLY and not seen.plays:
            continue
        measures[name] = _run(check, seen, findings)
        tell(name)
    findings.sort(key=lambda finding: -RANK[finding.severity])
    once = tuple(dict.fromkeys(findings))
    return Report(seen.place, once, measures, card(seen, measures, once))


class AuthorlessError(EnvkitError):
    """No task could be made, so there is nothing to be audited."""

    def __init__(self, findings: list[Finding]) -> None:
        why = findings[0].evidence if findings else "it has no split with a task"
        super().__init__(f"no task can be made: {why}")


def _run(check: Check, seen: Seen, findings: list[Finding]) -> Measures:
    found: Found = check(seen)
    while True:
        try:
            findings.append(next(found))
        except StopIteration as end:
            measures: Measures = end.value or {}
            return measures
