"""Libraries of others that read what we write, set up so that they work without a network and without a GPU."""

import contextlib
import gc
import os
import sys
import types
import warnings


@contextlib.contextmanager
def leftover_files():
    """Collect files that a library leaves open, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def load_datasets(folder, cache):
    """Return the rows of each split as the library `datasets` reads them: by the card, without a network."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with leftover_files():
        import datasets

        datasets.disable_progress_bars()
        read = datasets.load_dataset(str(folder), cache_dir=str(cache))
        rows = {split: list(some) for split, some in read.items()}
        del read
    return rows


def torchvision_transforms():
    """Return torchvision's tv_tensors and transforms.v2, also where its wheel is not for this build of torch.

    Its compiled operators for boxes do not load then; transforms need none of them.
    """
    with contextlib.suppress(RuntimeError):
        pass
    if "torchvision.transforms.v2" not in sys.modules:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    return tv_tensors, v2
