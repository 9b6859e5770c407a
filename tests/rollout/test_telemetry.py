"""Log records carry their episode, spans cover it, and a tool that raises is a finding with a blame."""

import logging
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from envkit.data.message import Action, ToolCall
from envkit.rollout.policy import Local, policy_source
from envkit.rollout.runner import Runner, RunSettings
from envkit.rollout.telemetry import EpisodeFilter, _tracer

COUNTER = f"file:{Path(__file__).parent.parent / 'worlds' / 'counter.py'}:Counter"


class Crashing:
    """Calls the tool that raises, once."""

    name = "crashing"

    def describe(self):
        return {"name": self.name}

    async def variants(self, judge, split, index):
        return (None,)

    async def open(self, casting):
        return Local(
            lambda seen: Action() if "failed" in seen.text() else Action(calls=(ToolCall("crash"),))
        )

    async def aclose(self):
        pass


async def test_a_tool_that_raises_is_found_logged_with_its_episode_and_blamed_on_the_env(caplog):
    caplog.handler.addFilter(EpisodeFilter())
    episodes = []
    with caplog.at_level(logging.WARNING, "envkit"):
        async with Runner(RunSettings(spec=COUNTER, tasks=2), Crashing()) as runner:
            await runner.run(episodes.append)
    assert {record.episode for record in caplog.records} == {"train-0-0", "train-1-0"}
    for episode in episodes:
        (finding,) = episode.findings
        assert (finding["rule"], finding["place"], episode.blame) == ("tool-raised", "crash", "env")
        assert "secret detail" not in str(episode.messages)
        assert "RuntimeError at counter.py" in finding["evidence"]
        assert episode.reward == 0.0


async def test_spans_cover_each_episode():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    _tracer.cache_clear()
    async with Runner(RunSettings(spec=COUNTER, tasks=3), policy_source("oracle")) as runner:
        await runner.run()
    provider.shutdown()
    names = [span.name for span in exporter.get_finished_spans()]
    assert sorted(names) == ["envkit.episode"] * 3 + ["envkit.open"] * 3 + ["envkit.turns"] * 3
    episodes = {
        dict(s.attributes or {})["episode"]
        for s in exporter.get_finished_spans()
        if s.name == "envkit.episode"
    }
    assert episodes == {"train-0-0", "train-1-0", "train-2-0"}
