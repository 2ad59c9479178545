"""A broken or missing cache of compiled loops costs some seconds, and nothing else."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shm_data.pixels import compiling

# One loop alone: all of them take ten seconds to compile.
SCRIPT = """
import sys, types
package = types.ModuleType("shm_data.pixels.kernels")
package.__path__ = [sys.argv[1]]
sys.modules[package.__name__] = package
import numba.core.caching, numpy as np
if sys.argv[2:]:
    numba.core.caching.CacheImpl._locator_classes = []
from shm_data.pixels.kernels.blending import blend
image = np.zeros(3, np.uint8)
blend(np.full(3, 200, np.uint8), np.full(3, 255, np.uint8), np.zeros(3, np.uint8), image)
assert image.tolist() == [200, 200, 200]
print(sum(blend.stats.cache_hits.values()))
"""

BROKEN = {
    "an empty index": ("*.nbi", lambda data: b""),
    "an empty entry": ("*.nbc", lambda data: b""),
    "half an entry": ("*.nbc", lambda data: data[: len(data) // 2]),
    "an entry of zeros": ("*.nbc", lambda data: bytes(len(data))),
}


def run(cache, *arguments, **more):
    """Blend in a process of its own; what it says in the error stream, and how many loops came from the cache."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(compiling.__file__).with_name("kernels")), *arguments],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **more,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr, int(ended.stdout)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A cache as the first run leaves it."""
    cache = tmp_path_factory.mktemp("numba")
    assert run(cache) == ("", 0)
    assert run(cache) == ("", 1)
    return cache


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_cache_is_made_anew_and_serves_the_next_run(kept, tmp_path, how):
    cache = Path(shutil.copytree(kept, tmp_path / "numba"))
    pattern, damage = BROKEN[how]
    files = list(cache.rglob(pattern))
    for path in files:
        path.write_bytes(damage(path.read_bytes()))
    assert files
    assert run(cache) == ("", 0)
    assert run(cache) == ("", 1)


def test_without_a_folder_for_it_one_line_names_the_variable(tmp_path):
    errors, hits = run(tmp_path, "nowhere")
    assert hits == 0 and errors.count("NUMBA_CACHE_DIR") == 1 and "Traceback" not in errors


def test_on_a_disk_that_takes_no_more_one_line_names_the_variable(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    errors, hits = run(tmp_path / "cache", preexec_fn=limit)
    assert hits == 0 and errors.count("NUMBA_CACHE_DIR") == 1 and "Traceback" not in errors
