"""Conformance suites that packs and backends inherit. Needs pytest."""

from envkit.testing.pack import PackConformance

__all__ = ["PackConformance"]
