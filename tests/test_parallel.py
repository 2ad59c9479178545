"""Work is spread without a trace in its results, and its memory is used again."""

import platform
import subprocess
import sys

import pytest

from shm_data.parallel import spread


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("batch", [1, 4, 1000])
@pytest.mark.parametrize("count", [0, 1, 4, 30])
def test_results_are_those_of_a_loop_for_any_workers_and_batches(jobs, batch, count):
    wanted = [item * item for item in range(count)]
    assert list(spread(lambda item: item * item, range(count), jobs, ordered=True, batch=batch)) == wanted
    assert sorted(spread(lambda item: item * item, range(count), jobs, batch=batch)) == wanted


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_fault_comes_to_who_asks_for_the_results(jobs):
    def work(item):
        if item == 13:
            raise KeyError("thirteen")
        return item

    with pytest.raises(KeyError, match="thirteen"):
        list(spread(work, range(50), jobs, batch=5))


_AGAIN_AND_AGAIN = """
import resource, sys
import numpy as np
from shm_data.memory import keep_freed

def picture():
    [np.ones(5_000_000, np.uint8) for _ in range(3)]

if sys.argv[1] == "kept":
    keep_freed()
picture()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    picture()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc is left alone")
def test_memory_of_a_picture_is_the_memory_of_the_next():
    def faults(way):
        command = [sys.executable, "-c", _AGAIN_AND_AGAIN, way]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)

    assert faults("kept") < faults("given back") / 10
