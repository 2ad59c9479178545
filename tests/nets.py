"""Small networks with random weights, and checkpoints of them."""

import torch
from torch import nn

from shm_model.checkpoint import Checkpoint, save
from shm_model.config import config_of
from shm_model.mnet import MNet
from shm_model.shm import SHM
from shm_model.tnet import TNet

SMALL = {"backbone": "resnet18", "output_stride": 16, "mnet_width": 0.125, "longest": 160}

MODES = {"tnet": "pretrain_tnet", "mnet": "pretrain_mnet", "shm": "end_to_end"}


def network(kind):
    """A network whose answers vary: batch norm has seen something, and T-Net is sure of more than one class."""
    torch.manual_seed(3)
    made = {"tnet": lambda: TNet("resnet18", 16), "mnet": lambda: MNet(0.125)}
    made["shm"] = lambda: SHM(made["tnet"](), made["mnet"]())
    net = made[kind]().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, TNet):
            module.classify.weight.data *= 5
    return net


def checkpoint(kind, path):
    given = {"mode": MODES[kind], "data_root": "", **SMALL}
    if kind == "shm":
        given |= {"tnet_checkpoint": "t.pt", "mnet_checkpoint": "m.pt"}
    save(path, Checkpoint(config_of(given, "test"), network(kind).state_dict(), {}, {}, 1, 0.0))
    return path
