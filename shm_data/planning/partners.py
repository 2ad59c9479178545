"""Who stands behind whom, where one foreground is composited over another. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from shm_data.planning.splits import group_of
from shm_data.sources.types import Foreground


def can_pair(foreground: Foreground) -> bool:
    """Whether a foreground may stand before or behind another: a trimap of somebody's own would no longer fit."""
    return not foreground.files.imported and foreground.files.trimap is None


def draw_partner(
    numbers: Iterator[float], foreground: Foreground, others: Sequence[Foreground], group: str | None
) -> Foreground | None:
    """One of the others that is of another `group` (by the pattern of --group), so another person; or None."""
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
    """The partner of each foreground of one split, by name, with numbers for that name.

    It is one for all its samples, so that only two need be prepared, and one of those before it, so that foregrounds
    which join later change none. The first has no partner.
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
