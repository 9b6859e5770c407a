"""The scan of an audit: what it could not look at makes the card incomplete."""

from pathlib import Path

from envkit.audit.audit import audit
from envkit.audit.checks import leaks
from envkit.audit.seen import AuditSettings

LEAKS = Path(__file__).parents[1] / "leakbench"


async def scanned():
    spec = f"file:{LEAKS / 'files.py'}:VariableTwin"
    report = await audit(AuditSettings(spec, tasks=1, worlds=False))
    return report, [why for why in report.card.missing if why.startswith("scan")]


async def test_what_was_left_out_is_told_and_is_not_clean(monkeypatch):
    report, missing = await scanned()
    assert (missing, report.measures["surfaces"]["left_out"]) == ([], 0)
    monkeypatch.setattr(leaks, "MOST", 1)
    report, missing = await scanned()
    assert report.measures["surfaces"]["left_out"] == len(missing) > 0
    assert not report.complete


async def test_a_content_that_does_not_fit_is_named(monkeypatch):
    monkeypatch.setattr("envkit.guards.scan.decode.MAX_BYTES", 40)
    _, missing = await scanned()
    assert any("app.log" in why for why in missing)
