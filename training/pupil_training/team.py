"""The processes that train one run together: one alone, or several that `torchrun` started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from pupil_training.errors import RecipeError

Value = TypeVar("Value")
TORCHRUN = "TORCHELASTIC_RUN_ID"  # it sets this variable
PATIENCE = timedelta(minutes=30)  # for a process that does not come


class Team:
    """Who takes part. The first process leads: it alone writes the run."""

    def __init__(self, process: int = 0, processes: int = 1, here: int = 0, beside: int = 1) -> None:
        self.process = process
        self.processes = processes
        self.here = here  # our number on this machine
        self.beside = beside  # processes on this machine

    @property
    def leads(self) -> bool:
        return self.process == 0

    def wrap(self, module: nn.Module, *, all_used: bool) -> nn.Module:
        """The module, its gradients averaged over the team."""
        if self.processes == 1:
            return module
        return DistributedDataParallel(module, find_unused_parameters=not all_used)

    def told(self, value: Value) -> Value:
        """The leader's value, in every process."""
        values = [value]
        if self.processes > 1:
            distributed.broadcast_object_list(values, src=0)
        return values[0]

    def mean(self, value: Tensor) -> float:
        """Averaged over the team."""
        value = value.detach().clone()
        if self.processes > 1:
            distributed.all_reduce(value)
        return value.item() / self.processes


def require_one_process(what: str) -> None:
    """Raises RecipeError where `torchrun` started us, perhaps among others."""
    if TORCHRUN in os.environ:
        raise RecipeError(f"{what} are the work of one process: start the command without torchrun")


@contextmanager
def joined(device: str) -> Iterator[Team]:
    """The team that `torchrun` made us part of; else a team of one. nccl between GPUs, gloo between CPUs."""
    if TORCHRUN not in os.environ:
        yield Team()
        return
    cuda = device != "cpu" and torch.cuda.is_available()
    team = Team(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))
    if cuda:
        torch.cuda.set_device(team.here)
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield team
    finally:
        distributed.destroy_process_group()
