"""Who gets a place, where places are few."""

from __future__ import annotations

from collections.abc import Sequence


def unplaced(wishes: Sequence[Sequence[int]], room: Sequence[int]) -> list[int]:
    """Those that get none of the places they could take, when as many as possible do (augmenting paths).

    Args:
        wishes: For each, the places that would do.
        room: For each place, how many fit.
    """
    held: list[list[int]] = [[] for _ in room]
    left: list[int] = []
    hopeless: set[tuple[int, ...]] = set()  # whoever wishes the same has no better luck later
    for who, wish in enumerate(wishes):
        if tuple(wish) in hopeless or not _place(who, wishes, held, room, set()):
            hopeless.add(tuple(wish))
            left.append(who)
    return left


def _place(
    who: int,
    wishes: Sequence[Sequence[int]],
    held: Sequence[list[int]],
    room: Sequence[int],
    tried: set[int],
) -> bool:
    """Give `who` a place; where all are taken, one of those there has to find another first."""
    for spot in wishes[who]:
        if spot in tried:
            continue
        tried.add(spot)
        if len(held[spot]) < room[spot]:
            held[spot].append(who)
            return True
        for number, other in enumerate(held[spot]):
            if _place(other, wishes, held, room, tried):
                held[spot][number] = who
                return True
    return False
