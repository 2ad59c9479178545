"""What one picture frees is kept for the next."""

import platform
import subprocess
import sys

import pytest

_AGAIN_AND_AGAIN = """
import resource, sys
import numpy as np
from shm_data.host.allocator import tune_allocator

def picture():
    [np.ones(5_000_000, np.uint8) for _ in range(3)]

if sys.argv[1] == "kept":
    tune_allocator(2**26)
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
