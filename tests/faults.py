"""What a call raises, to be compared by its fields."""

import pytest

from shm_data.errors import ShmDataError


def fault_of(function, *arguments, **named):
    """Return the error of the input that a call raises."""
    with pytest.raises(ShmDataError) as raised:
        function(*arguments, **named)
    return raised.value
