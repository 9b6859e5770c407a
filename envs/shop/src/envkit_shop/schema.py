"""The shop's tables."""

from pathlib import Path

SCHEMA = Path(__file__).with_name("schema.sql")
