"""Frozen, inert data: what tasks, messages, evidence, scores and probes are. Nothing here does I/O."""
