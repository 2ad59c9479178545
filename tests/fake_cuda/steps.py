"""Does one step of a stage on a fake CUDA device, without a card, and prints as JSON what a card would see of it.

    python steps.py LIBRARY '{"mode": "pretrain_tnet", ...}'

The library must be loaded before torch is imported; see test_fake_cuda.py.
"""

import collections
import ctypes
import json
import os
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path

ctypes.CDLL(str(Path(find_spec("torch").origin).parent / "lib" / "libtorch_cpu.so"), ctypes.RTLD_GLOBAL)
ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)

import torch  # noqa: E402
import torch.cuda.amp.common as amp  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from shm_model.batches import EndToEndBatch, MNetBatch, TNetBatch  # noqa: E402
from shm_model.config import config_of  # noqa: E402
from shm_model.distributed import ProcessContext  # noqa: E402
from shm_model.mnet import MNet  # noqa: E402
from shm_model.run import new_run  # noqa: E402
from shm_model.shm import SHM  # noqa: E402
from shm_model.step import train_step  # noqa: E402
from shm_model.tnet import TNet  # noqa: E402

# Operations whose result a card computes for its host to wait for.
WAITS = ("aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero")

# What carries most of a step: its dtypes and memory formats are looked at.
HEAVY = ("aten::convolution", "aten::cat", "aten::where", "aten::upsample", "aten::native_batch_norm")


def _apply(self, function, recurse=True):
    """nn.Module._apply without swapping tensors, which fake ones do not allow: parameters are made anew."""
    del recurse
    for child in self.children():
        child._apply(function)
    for key, parameter in self._parameters.items():
        if parameter is not None:
            self._parameters[key] = torch.nn.Parameter(function(parameter.detach()), parameter.requires_grad)
    for key, buffer in self._buffers.items():
        if buffer is not None:
            self._buffers[key] = function(buffer)
    return self


def _convolution_format(image, weight, backend):
    """cuDNN's choice: channels_last if either is; this build has no cuDNN to ask."""
    del backend
    return torch.channels_last if any(_is_last(each) for each in (image, weight)) else torch.contiguous_format


def _is_last(tensor):
    last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return last and not tensor.is_contiguous()


def _line():
    """The line of the package, or of torch, that is being carried out."""
    frames = [frame for frame in traceback.extract_stack() if "fake_cuda" not in frame.filename]
    ours = [frame for frame in frames if "shm_model" in frame.filename]
    frame = (ours or frames)[-1]
    return f"{Path(frame.filename).name}: {frame.line}"


class Watch(TorchDispatchMode):
    """Counts what makes the host wait for the device, and copies; gives .item() a value."""

    def __init__(self):
        super().__init__()
        self.reset()

    def reset(self):
        """Begins anew."""
        self.waits, self.to_device, self.to_host, self.heavy = (collections.Counter() for _ in range(4))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        del types
        kwargs, name = kwargs or {}, function.name()
        if name == "aten::_local_scalar_dense":
            if args[0].device.type == "cuda":
                self.waits[_line()] += 1
            return 1.0 if args[0].dtype.is_floating_point else 32
        if name in WAITS:
            self.waits[_line()] += 1
        result = function(*args, **kwargs)
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        results = [each for each in tree_leaves(result) if isinstance(each, torch.Tensor)]
        if tensors and results:
            self._count(name, tensors[0].device.type, results[0])
        return result

    def _count(self, name, device, result):
        if result.device.type != device:
            (self.to_device if result.device.type == "cuda" else self.to_host)[_line()] += 1
        if result.device.type == "cuda" and name.startswith(HEAVY) and result.dim() == 4:
            form = "NHWC" if result.is_contiguous(memory_format=torch.channels_last) else "NCHW"
            self.heavy[f"{name.partition('.')[0]} {str(result.dtype)[6:]} {form} {result.numel()} at {_line()}"] += 1


def batch_of(config):
    """A batch as the loader gives it."""
    count, patch = config.batch_size, config.mnet_size

    def pixels(channels, side):
        return torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8)

    names, size = ["-"] * count, config.tnet_size if config.mode == "pretrain_tnet" else config.end_size
    if config.mode == "pretrain_tnet":
        return TNetBatch(names, pixels(3, size), pixels(1, size)[:, 0] % 3)
    patches = [pixels(channels, patch) for channels in (3, 1, 1, 3, 3)]
    if config.mode == "pretrain_mnet":
        return MNetBatch(names, pixels(1, patch)[:, 0] % 3, *patches)
    box = torch.tensor([[0, 0, size // 2, size // 2]] * count)
    return EndToEndBatch(names, pixels(3, size), pixels(1, size)[:, 0] % 3, box, *patches)


def main():
    """Does the second step: the first makes the optimiser's state."""
    torch.nn.Module._apply = _apply
    torch._C._conv_determine_backend_memory_format = _convolution_format
    torch.cuda.is_bf16_supported = lambda *_, **__: True
    for module in (amp, torch.amp.autocast_mode.torch.cuda.amp.common, torch.amp.grad_scaler.torch.cuda.amp.common):
        module.amp_definitely_not_available = lambda: False
    config = config_of(json.loads(sys.argv[2]), "test")
    watch = Watch()
    with FakeTensorMode(allow_non_fake_inputs=False), watch:
        tnet, mnet = TNet(config.backbone, config.output_stride), MNet(config.mnet_width)
        network = {"pretrain_tnet": tnet, "pretrain_mnet": mnet}.get(config.mode) or SHM(tnet, mnet)
        run = new_run(network, config, ProcessContext(torch.device("cuda", 0)))
        batch = batch_of(config)
        train_step(run, batch, 0, 10)
        watch.reset()
        train_step(run, batch, 1, 10)
    print(json.dumps({name: getattr(watch, name) for name in ("waits", "to_device", "to_host", "heavy")}))
    sys.stdout.flush()
    os._exit(0)  # torch's end would ask the card


if __name__ == "__main__":
    main()
