"""Outcome validators: pure, total functions of what was seen and what was expected.

Each takes evidence first (a value or `Malformed`, from `envkit`'s `Evidence` or a `Reply`) and
gives a `Check` with a reason that quotes both. Nothing that an agent wrote makes one raise or hang;
what an author gets wrong (an empty expectation, a tolerance below zero, a pattern that may not end)
raises `ValueError` before the evidence is looked at.
"""

from envkit_validators.changes import allow, expect, forbid, state
from envkit_validators.combine import all_of, any_of, gate, weighted
from envkit_validators.files import Sha256, tree_equal
from envkit_validators.near import Near
from envkit_validators.schema import matches_schema
from envkit_validators.sequences import lines, list_equal, set_equal
from envkit_validators.subjects import Slot, prints, returns, round_trip
from envkit_validators.tables import table_equal
from envkit_validators.text import matches, similar
from envkit_validators.values import exact, numeric, one_of

__all__ = [
    "Near",
    "Sha256",
    "Slot",
    "all_of",
    "allow",
    "any_of",
    "exact",
    "expect",
    "forbid",
    "gate",
    "lines",
    "list_equal",
    "matches",
    "matches_schema",
    "numeric",
    "one_of",
    "prints",
    "returns",
    "round_trip",
    "set_equal",
    "similar",
    "state",
    "table_equal",
    "tree_equal",
    "weighted",
]
