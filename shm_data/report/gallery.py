"""Cards of samples as HTML: pictures one upon another, of which a page shows those that are asked for."""

from collections.abc import Iterable, Mapping, Sequence

from shm_data.pixels import augmentations
from shm_data.report.cards import Card
from shm_data.report.markup import data_uri, size, text

# What can be shown of a sample: what it is called, the layers it takes, and the file without which it is not there.
SHOWS = {
    "image": ("Image", ("image",), "image"),
    "veil": ("+ alpha", ("image", "veil"), "alpha"),
    "band": ("+ trimap", ("image", "band"), "trimap"),
    "alpha": ("Alpha", ("alpha",), "alpha"),
    "cutout": ("Cut-out", ("cutout",), "alpha"),
}

# No frame is narrower or wider than this.
_NARROWEST, _WIDEST = 0.5, 2.4


def switch(show: str) -> str:
    """Buttons that choose what the cards after them show."""
    buttons = "".join(
        f'<button type="button" data-to="{key}" aria-pressed="{"true" if key == show else "false"}">{name}</button>'
        for key, (name, _, _) in SHOWS.items()
    )
    return f'<div class="switch" role="group" aria-label="What the pictures show">{buttons}</div>'


def grid(groups: Iterable[Sequence[tuple[Card, str]]], show: str) -> str:
    """Cards, each with its caption, which is HTML; those of a group stay side by side."""
    return f'<div class="grid" data-show="{show}">{"".join(map(_group, groups))}</div>'


def caption(card: Card) -> str:
    """The name of a sample, its split, and what it was made of."""
    return f'{chip(card.split)}<span class="name" title="{text(card.name)}">{text(card.name)}</span>'


def chip(split: str) -> str:
    """The name of a split, in its colour."""
    return f'<span class="chip {split}">{split}</span>' if split else ""


def _group(cards: Sequence[tuple[Card, str]]) -> str:
    figures = "".join(_card(card, caption) for card, caption in cards)
    if len(cards) == 1:
        return figures
    return f'<div class="group" style="--ratio:{sum(_ratio(card) for card, _ in cards):.4f}">{figures}</div>'


def _ratio(card: Card) -> float:
    return min(_WIDEST, max(_NARROWEST, card.size[0] / card.size[1]))


def _card(card: Card, below: str) -> str:
    ratio = _ratio(card)
    layers = "".join(_layer(kind, data) for kind, data in card.layers.items())
    gone = "".join(_gone(card, show) for show in SHOWS)
    told = f'style="aspect-ratio:{ratio:.4f}" aria-label="Enlarge {text(card.name)}"'
    about = "".join(f"<div><dt>{term}</dt><dd>{value}</dd></div>" for term, value in _about(card).items())
    return (
        f'<figure style="--ratio:{ratio:.4f}"><button type="button" class="frame" {told}>{layers}{gone}</button>'
        f"<figcaption>{below}</figcaption><dl hidden>{about}</dl></figure>"
    )


def _layer(kind: str, picture: bytes) -> str:
    return f'<img class="{kind}" src="{data_uri(picture)}" alt="" decoding="async">'


def _gone(card: Card, show: str) -> str:
    """Why there is nothing to show."""
    _, layers, file = SHOWS[show]
    if layers[-1] in card.layers:
        return ""
    why = card.faults.get(file) or card.faults.get("image") or ("other sizes" if file in card.layers else "no file")
    return f'<span class="gone {show}">{file}: {text(why)}</span>'


def _about(card: Card) -> Mapping[str, str]:
    about = {"Sample": text(card.name)}
    if card.split:
        about["Split"] = card.split
    if card.layers:
        about["Size"] = size(*card.size)
    recipe = card.recipe
    if recipe is not None:
        about["Foreground"] = text(recipe.foreground)
        about["Background"] = "none: the photo itself" if recipe.background is None else text(recipe.background)
        rule = recipe.trimap
        about["Trimap"] = "one of its own" if rule is None else f"{rule.method}, {rule.erode} and {rule.dilate} px"
        if recipe.augment is not None:
            about["Augmented"] = text("; ".join(augmentations.to_words(recipe.augment)))
    return about
