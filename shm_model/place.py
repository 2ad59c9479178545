"""Where a process trains: its device, and its part among several that torchrun started."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn

from shm_data.errors import ShmDataError
from shm_model.config import Config

# All wait for whoever scores the largest pictures of val, which may take far more than torch's ten minutes.
_PATIENCE = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process runs: its device, and which of `world` processes it is."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0


def device_for(cuda: bool) -> torch.device:
    """The GPU where one is expected and there, else the CPU."""
    return torch.device("cuda" if cuda and torch.cuda.is_available() else "cpu")


def device_named(name: str | None) -> torch.device:
    """The device of a name: cpu, cuda, cuda:1, mps; without one, the GPU if CUDA has one, else the CPU.

    Raises ShmDataError where the name is none of these, or the device is not there.
    """
    if name is None:
        return device_for(True)
    expected = "cpu, cuda, cuda:1 or mps"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ShmDataError("--device", found=name, expected=expected) from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise ShmDataError("--device", found=name, expected=expected)
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= counts[device.type]:
        raise ShmDataError(
            "--device", found=f"{name}, and {counts[device.type]} such devices", expected="one that is there"
        )
    return device


@contextlib.contextmanager
def taken_place(config: Config) -> Iterator[Place]:
    """The place that torchrun gives to this process, or the only one; it is given back in the end.

    Raises ShmDataError where several GPUs are expected and nobody started a process for each, or there are too few.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if config.ngpu > 1 and world != config.ngpu:
        command = f"torchrun --nproc_per_node={config.ngpu} -m cli.model train CONFIG.yaml"
        raise ShmDataError("ngpu", found=f"{config.ngpu} and {world} process", expected=f"a launch by `{command}`")
    device = device_for(config.cuda)
    if config.sync_bn and device.type == "cpu":
        raise ShmDataError("sync_bn", found="no GPU", expected="sync_bn: false, or GPUs")
    if world == 1:
        yield Place(device)
        return
    if device.type == "cuda":
        device = torch.device("cuda", _local_rank())
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Place(device, distributed.get_rank(), world)
    finally:
        distributed.destroy_process_group()


def summed(values: Sequence[float], place: Place) -> list[float]:
    """Each of the values, added up over all processes in float64."""
    if place.world == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64, device=place.device)
    distributed.all_reduce(tensor)
    total: list[float] = tensor.tolist()
    return total


def as_in_the_first(network: nn.Module, place: Place) -> None:
    """Brings what is no parameter, such as the means of batch norm, in all processes to what the first has."""
    if place.world > 1:
        for buffer in network.buffers():
            distributed.broadcast(buffer, 0)


def _local_rank() -> int:
    rank, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if rank >= count:
        raise ShmDataError(
            "torchrun", found=f"process {rank + 1} of this machine", expected=f"at most {count}, a GPU each"
        )
    return rank
