"""Decides by the names of annotated classes whether a photo shows a person: one rule for VOC and COCO."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

# Words in the names of classes that are people, as in COCO, Open Images, LVIS, VisDrone, Cityscapes and others.
_PERSON_WORDS = frozenset(
    "person persons people human humans pedestrian pedestrians man men woman women boy boys girl girls child "
    "children kid kids baby babies toddler infant adult adults lady ladies gentleman guy male female face faces "
    "crowd rider riders cyclist cyclists bicyclist motorcyclist skier snowboarder surfer worker workers player "
    "players".split()
)

# The classes of VOC and COCO that are no people. The names of other classes are reported.
_OTHER_CLASSES = frozenset(
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike pottedplant sheep "
    "sofa train tvmonitor motorcycle airplane truck bench elephant bear zebra giraffe backpack umbrella handbag "
    "tie suitcase frisbee skis snowboard kite skateboard surfboard cup fork knife spoon bowl banana apple "
    "sandwich orange broccoli carrot pizza donut cake couch bed toilet tv laptop mouse remote keyboard microwave "
    "oven toaster sink refrigerator book clock vase scissors toothbrush".split()
) | {
    *("traffic light", "fire hydrant", "stop sign", "parking meter", "sports ball", "baseball bat", "baseball glove"),
    *("tennis racket", "wine glass", "hot dog", "potted plant", "dining table", "cell phone", "teddy bear"),
    "hair drier",
}


@dataclass(frozen=True, slots=True)
class PersonRule:
    """Which classes are people: those whose name has a word for a person, and the `more` that the user names."""

    more: tuple[str, ...] = ()

    def is_person(self, name: str) -> bool:
        """Return whether a class, or its supercategory, is people; neither case nor separators matter."""
        plain = _plain(name)
        return plain in map(_plain, self.more) or not _PERSON_WORDS.isdisjoint(plain.split())

    def unused(self, names: Iterable[str]) -> list[str]:
        """Return which of the user's names are none of these classes."""
        plain = set(map(_plain, names))
        return [name for name in self.more if _plain(name) not in plain]

    def not_understood(self, names: Iterable[str]) -> list[str]:
        """Return the names that are neither people nor classes known to be something else, sorted."""
        return sorted({name for name in names if not self.is_person(name) and _plain(name) not in _OTHER_CLASSES})


def _plain(name: str) -> str:
    """Return the words of a name in lower case: "person-fa" and "Person_fa" are "person fa"."""
    return " ".join(re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).strip().casefold())).strip()
