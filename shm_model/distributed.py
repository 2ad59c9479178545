"""Where a process trains: its device, and its rank among the processes that torchrun started."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn

from shm_data.errors import ShmDataError
from shm_model.config import Config

# All processes wait for the one that scores the largest pictures of val: longer than torch's ten minutes.
_TIMEOUT = timedelta(hours=6)

# What torchrun passes to each process.
_TORCHRUN = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """The device of a process, and its rank among `world_size` processes."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0


def default_device(cuda: bool) -> torch.device:
    """Return the GPU if one is requested and available, else the CPU."""
    return torch.device("cuda" if cuda and torch.cuda.is_available() else "cpu")


def device_named(name: str | None) -> torch.device:
    """Return the device of a name: cpu, cuda, cuda:1, mps; by default the GPU if CUDA has one, else the CPU.

    Raises ShmDataError where the name is none of these, or the device is not available.
    """
    if name is None:
        return default_device(True)
    expected = "cpu, cuda, cuda:1 or mps"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ShmDataError("--device", found=name, expected=expected) from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise ShmDataError("--device", found=name, expected=expected)
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= counts[device.type]:
        found = f"{name}, and {counts[device.type]} such devices"
        raise ShmDataError("--device", found=found, expected="a device of this machine")
    return device


@contextlib.contextmanager
def process_context(config: Config) -> Iterator[ProcessContext]:
    """Yield the context of this process among those of torchrun, or of the only one; leaves the group at the end.

    Raises ShmDataError where `ngpu` GPUs need a launch by torchrun, its environment is incomplete, or there are too
    few GPUs.
    """
    world_size = _from_environment("WORLD_SIZE", 1)
    if config.ngpu > 1 and world_size != config.ngpu:
        command = f"torchrun --nproc_per_node={config.ngpu} -m cli.model train CONFIG.yaml"
        found = f"{config.ngpu} and {world_size} process{'es' * (world_size != 1)}"
        raise ShmDataError("ngpu", found=found, expected=f"a launch by `{command}`")
    device = default_device(config.cuda)
    if config.sync_bn and device.type == "cpu":
        raise ShmDataError("sync_bn", found="no GPU", expected="sync_bn: false, or GPUs")
    if world_size == 1:
        yield ProcessContext(device)
        return
    _require_torchrun()
    if device.type == "cuda":
        device = torch.device("cuda", _local_gpu())
        torch.cuda.set_device(device)
    try:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
    except (ValueError, RuntimeError) as error:
        expected = "processes that torchrun started and that reach each other"
        raise ShmDataError("several processes", found=str(error), expected=expected) from error
    try:
        yield ProcessContext(device, distributed.get_rank(), world_size)
    finally:
        distributed.destroy_process_group()


def _require_torchrun() -> None:
    """Raise ShmDataError where WORLD_SIZE is set, but not all that torchrun sets with it."""
    missing = [name for name in _TORCHRUN if name not in os.environ]
    if missing:
        expected = "a launch by torchrun, or no WORLD_SIZE"
        raise ShmDataError("WORLD_SIZE is set", found=f"no {', '.join(missing)}", expected=expected)
    for name in ("RANK", "LOCAL_RANK"):
        _from_environment(name, 0)


def _from_environment(name: str, default: int) -> int:
    """Return a number that torchrun sets. Raises ShmDataError where the variable is none."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or not text.isascii():
        raise ShmDataError(f"the environment variable {name}", found=text, expected="a number, as torchrun sets it")
    return int(text)


def all_reduce_sum(values: Sequence[float], context: ProcessContext) -> list[float]:
    """Return each of the values summed over all processes, in float64."""
    if context.world_size == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64, device=context.device)
    distributed.all_reduce(tensor)
    total: list[float] = tensor.tolist()
    return total


def broadcast_buffers(network: nn.Module, context: ProcessContext) -> None:
    """Copy the buffers, such as batch norm's running means, of the main process to all others."""
    if context.world_size > 1:
        for buffer in network.buffers():
            distributed.broadcast(buffer, 0)


def _local_gpu() -> int:
    rank, count = _from_environment("LOCAL_RANK", 0), torch.cuda.device_count()
    if rank >= count:
        found = f"process {rank + 1} of this machine"
        raise ShmDataError("torchrun", found=found, expected=f"at most {count}, a GPU each")
    return rank
