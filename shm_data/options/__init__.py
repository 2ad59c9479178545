"""What users choose: the `table` of all options, the `models` that check them, and the registry of published sets.

The models need pydantic and load when they are first used: `--help` needs the table alone.
"""

from typing import TYPE_CHECKING

from shm_data.host.lazy import lazy_attributes

if TYPE_CHECKING:
    from shm_data.options.models import Augment as Augment
    from shm_data.options.models import CompositeOptions as CompositeOptions
    from shm_data.options.models import TrimapOptions as TrimapOptions

_HOMES = dict.fromkeys(("Augment", "CompositeOptions", "TrimapOptions"), "models")

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_attributes(__name__, _HOMES)
