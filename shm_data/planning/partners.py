"""Decides which foreground stands behind which, where one is composited over another. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from shm_data.planning.splits import group_of
from shm_data.sources import Foreground


def can_pair(foreground: Foreground) -> bool:
    """Return whether a foreground may stand before or behind another: its own trimap would no longer fit."""
    return not foreground.files.imported and foreground.files.trimap is None


def draw_partner(
    numbers: Iterator[float], foreground: Foreground, others: Sequence[Foreground], group: str | None
) -> Foreground | None:
    """Draw one of the others that is another person, by the pattern of --group; None if none is."""
    own = group_of(foreground.files.name, group)
    if all(group_of(other.files.name, group) == own for other in others):
        return None
    while True:
        other = others[int(next(numbers) * len(others))]
        if group_of(other.files.name, group) != own:
            return other


def assign_partners(
    foregrounds: Iterable[Foreground], group: str | None, numbers: Callable[[str], Iterator[float]]
) -> dict[str, Foreground]:
    """Return a partner for each foreground of one split, by name, drawn with the `numbers` for that name.

    All samples of a foreground have the same partner, so that only two foregrounds are prepared at a time. It comes
    from the foregrounds before its own, so that those added later change none. The first has no partner.
    """
    partners = {}
    earlier: list[Foreground] = []
    for foreground in filter(can_pair, foregrounds):
        name = foreground.files.name
        partner = draw_partner(numbers(name), foreground, earlier, group)
        if partner is not None:
            partners[name] = partner
        earlier.append(foreground)
    return partners
