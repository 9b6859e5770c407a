"""`Team`: several seats at one table, each with a card of its own and what the others said."""

from envkit.adapters.team.adapter import Team
from envkit.adapters.team.seed import TeamSeed
from envkit.adapters.team.session import Order, Said, TeamSession

__all__ = ["Order", "Said", "Team", "TeamSeed", "TeamSession"]
