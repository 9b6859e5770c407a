"""Who gets a place, where places are few."""

from __future__ import annotations

from collections.abc import Sequence


def placed(wishes: Sequence[Sequence[int]], room: Sequence[int]) -> list[int | None]:
    """The place that each gets, or None, when as many as possible get one (augmenting paths).

    Args:
        wishes: For each, the places that would do.
        room: For each place, how many fit.
    """
    at: list[int | None] = [None] * len(wishes)
    held: list[dict[int, None]] = [{} for _ in room]
    hopeless: set[tuple[int, ...]] = set()  # whoever wishes the same has no better luck later
    for who, wish in enumerate(wishes):
        if tuple(wish) not in hopeless and not _place(who, wishes, room, at, held):
            hopeless.add(tuple(wish))
    return at


def _place(
    who: int,
    wishes: Sequence[Sequence[int]],
    room: Sequence[int],
    at: list[int | None],
    held: Sequence[dict[int, None]],
) -> bool:
    """Give `who` a place; where all are taken, somebody there has to find another first, and so on."""
    asking: dict[int, int] = {}  # who would come to each place that was looked at
    queue = [who]
    for one in queue:
        for spot in wishes[one]:
            if spot in asking:
                continue
            asking[spot] = one
            if len(held[spot]) < room[spot]:
                _move(spot, asking, at, held)
                return True
            queue += held[spot]
    return False


def _move(
    spot: int, asking: dict[int, int], at: list[int | None], held: Sequence[dict[int, None]]
) -> None:
    """Let in who asked for this place, then who asked for the one that this leaves free."""
    free: int | None = spot
    while free is not None:
        one = asking[free]
        held[free][one] = None
        before, at[one] = at[one], free
        if before is not None:
            del held[before][one]
        free = before
