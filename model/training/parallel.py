"""Training by several processes under torchrun, as if they were one: `torchrun --nproc-per-node 2 -m model.train ...`.

Every process draws each batch, its augmentation and its dropout as one process would, and takes its share of the rows.
What goes over all rows of a batch is summed over the processes: the loss, the gradients, and the statistics of batch
normalisation (Ioffe and Szegedy 2015), forward and backward. PyTorch's own `SyncBatchNorm` is for CUDA only, and
`DistributedDataParallel` takes the mean of the processes' gradients, which is wrong where shares differ by a row.

The process of rank 0 alone reads and writes the run's folder. Without torchrun nothing here does anything.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from spikingjelly.activation_based import layer
from torch import Tensor, nn

from neurotarget import cli
from neurotarget.errors import UserError

ENVIRONMENT = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets beside WORLD_SIZE
WRITTEN = "written"  # in the store, once the first process has written all that it writes
LONGEST_WAIT, BETWEEN_LOOKS = 3600.0, 0.05  # seconds that the others wait for that, and between two looks

Value = TypeVar("Value")

_store: dist.Store | None = None  # which torchrun's agent keeps, so that it outlives every process of the training


class ProcessError(UserError):
    """Another process of the training ended, or they cannot work together."""


def join() -> None:
    """Joins the processes that torchrun started: NCCL where there is a GPU for each process of the machine, else gloo.

    Raises:
        ProcessError: the machine has GPUs, but not for this process; or it was not torchrun that started it.
    """
    global _store
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        return
    if missing := [name for name in ENVIRONMENT if not os.environ.get(name)]:
        raise ProcessError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set; start with torchrun, or "
            "unset WORLD_SIZE to train in one process"
        )
    if torch.cuda.is_available():
        place, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if place >= gpus:
            raise ProcessError(
                f"process {place} of this machine has no GPU, there are {gpus}; give torchrun --nproc-per-node {gpus}"
            )
        torch.cuda.set_device(place)
    signal.signal(signal.SIGTERM, _ended)
    # An optimizer's first step imports this; imported later, its functions' defaults hold the group and so its threads
    # beyond `destroy_process_group`, until the interpreter ends, which such a thread may abort.
    importlib.import_module("torch.distributed.nn.functional")
    with _together():
        _store, rank, world = next(dist.rendezvous("env://"))
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=_store, rank=rank, world_size=world)


def leave() -> None:
    """Leaves the other processes, at the end of a training that went well: the first one goes first.

    It writes, also when the others have nothing left to do, and whatever ended one of them would end it half-way.

    Raises:
        ProcessError: the first one ended before, or has not come here after an hour.
    """
    if not dist.is_initialized():
        return
    if _store is not None:
        with _together():
            if first():
                _store.set(WRITTEN, "")
            else:
                _await_first(_store)
    dist.destroy_process_group()


def _await_first(store: dist.Store) -> None:
    """Looks again and again: the store's own wait would not let torchrun's SIGTERM through when the first one ends."""
    latest = time.monotonic() + LONGEST_WAIT
    while not store.check([WRITTEN]):
        if time.monotonic() > latest:
            raise ProcessError(
                f"the first process of this training has not written its results {LONGEST_WAIT:g} seconds after this "
                "one had none left to compute; see whether its disk answers, then go on with --resume"
            )
        time.sleep(BETWEEN_LOOKS)


def spoken(result: Value) -> Value | None:
    """Leaves the other processes with a result that the first one alone has to say."""
    speaks = first()
    leave()
    return result if speaks else None


def processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def first() -> bool:
    """Whether this process is the one that reads and writes the run's folder, and speaks."""
    return not dist.is_initialized() or dist.get_rank() == 0


def complain(sentence: str) -> bool:
    """Prints a sentence on stderr; where all processes have one to say, that of the first to come. Whether it did."""
    with contextlib.suppress(RuntimeError):  # a store that is gone stops nobody from speaking
        if _store is not None and _store.add("complaints", 1) > 1:
            return False
    return cli.complain(sentence)


# ---- shares and sums -------------------------------------------------------------------------------------------------


def share(samples: int) -> slice:
    """The rows of so many that are this process's; sizes differ by one at most, as those of `numpy.array_split`."""
    if not dist.is_initialized():
        return slice(0, samples)
    (smaller, longer), rank = divmod(samples, dist.get_world_size()), dist.get_rank()
    start = rank * smaller + min(rank, longer)
    return slice(start, start + smaller + (rank < longer))


def add(value: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if dist.is_initialized():
        with _together():
            dist.all_reduce(value)
    return value


def gather(rows: Tensor, samples: int) -> Tensor:
    """[share, ...] of every process as [samples, ...], every row once, in the order of the samples."""
    if not dist.is_initialized():
        return rows
    whole = rows.new_zeros(samples, *rows.shape[1:])
    whole[share(samples)] = rows
    return add(whole)


def add_gradients(model: nn.Module) -> None:
    """Sums the gradients over all processes, in one message."""
    if not dist.is_initialized():
        return
    gradients = [value.grad for value in model.parameters() if value.grad is not None]
    nn.utils.vector_to_parameters(add(nn.utils.parameters_to_vector(gradients)), gradients)


def from_first(make: Callable[[], Value]) -> Value:
    """What `make` gives in the first process, in all of them. It may raise: the others then lose contact."""
    if not dist.is_initialized():
        return make()
    values: list[Any] = [make() if first() else None]
    with _together():
        dist.broadcast_object_list(values)
    value: Value = values[0]
    return value


@torch.no_grad()
def align(model: nn.Module) -> None:
    """Gives every process the first one's parameters: machines of different kinds round the same step differently."""
    if dist.is_initialized():
        with _together():
            for value in model.state_dict().values():
                dist.broadcast(value, 0)


@contextlib.contextmanager
def _together() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise _alone(str(error).splitlines()[0]) from error


def _alone(reason: str) -> ProcessError:
    return ProcessError(
        f"another process of this training ended or cannot be reached ({reason}); what was written before is whole, "
        "go on with --resume"
    )


def _ended(*_: object) -> None:
    """When a process ends, torchrun ends the others by SIGTERM, often before they notice: they say so all the same."""
    raise _alone("torchrun ended this one")


# ---- layers that look at the whole batch -----------------------------------------------------------------------------


def share_layers(model: nn.Module) -> None:
    """Lets batch normalisation and dropout work on the batch of all processes. Names and parameters stay."""
    if dist.is_initialized():
        for module in model.modules():
            if isinstance(module, layer.BatchNorm1d):
                module.__class__ = SharedBatchNorm
            elif isinstance(module, layer.Dropout):
                module.__class__ = SharedDropout


def begin_batch(samples: int) -> slice:
    """The rows of a batch that are this process's; layers that `spread` changed expect them next."""
    SharedDropout.samples = samples
    return share(samples)


class SharedDropout(layer.Dropout):
    """Draws for all rows of a batch, as one process does, and keeps the share's: random numbers stay in step."""

    samples = 0  # of the whole batch

    def create_mask(self, x: Tensor) -> Tensor:
        mask = F.dropout(x.new_ones(self.samples, *x.shape[1:]), self.p, training=True)
        return mask[share(self.samples)]


class SharedBatchNorm(layer.BatchNorm1d):
    """Batch normalisation of [T, B, C] over the steps and samples of all processes."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        rows = x.flatten(0, -2)
        variance, mean = torch.var_mean(rows.detach(), 0, correction=0)
        parts = _every(torch.cat([mean, variance, mean.new_tensor([len(rows)])]).double())
        means, variances, sizes = parts.split([len(mean), len(mean), 1], dim=1)
        total = sizes.sum()
        # Chan, Golub and LeVeque 1983, equation 2.1b: no difference of large sums
        mean = (sizes * means).sum(0) / total
        variance = (sizes * (variances + (means - mean) ** 2)).sum(0) / total
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.to(x), self.momentum)
            self.running_var.lerp_((variance * total / (total - 1)).to(x), self.momentum)
        out: Tensor = _Normalise.apply(rows, self.weight, self.bias, mean.to(x), variance.to(x), self.eps, total.to(x))
        return out.view_as(x)


class _Normalise(torch.autograd.Function):
    """weight * (x - mean) / sqrt(variance + eps) + bias, where mean and variance are those of x in all processes."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, eps: float, total: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance, total)
        ctx.eps = eps
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Ioffe and Szegedy 2015, section 3, gradients through mean and variance gathered in two sums per channel."""
        x, weight, mean, variance, total = ctx.saved_tensors
        inverse = (variance + ctx.eps).rsqrt()
        centred = x - mean
        grad_bias = grad.sum(0)
        grad_weight = (grad * centred).sum(0) * inverse
        of_bias, of_weight = add(torch.stack([grad_bias, grad_weight])) / total
        grad_x = (grad - of_bias - centred * (of_weight * inverse)) * (weight * inverse)
        return grad_x, grad_weight, grad_bias, None, None, None, None


def _every(value: Tensor) -> Tensor:
    """[n] of every process as [processes, n]."""
    return gather(value[None], processes())
