"""Generators of random numbers, named by (seed, purpose, epoch, ...), and the laws the weights are drawn from."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from mixscope.base.checks import check_at_least, check_positive
from mixscope.base.kinds import checked


def derive_seed(seed: int, purpose: str, *counters: int) -> int:
    """Derive a 63-bit seed from a run's seed, what the numbers are for, and counters such as epoch, step and rank.

    SHA-256 of the written-out key: different keys give unrelated seeds, on every machine and version alike.
    """
    key = "/".join(["mixscope", str(int(seed)), purpose, *(str(int(counter)) for counter in counters)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def named_generator(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """Return a fresh CPU generator for one purpose, for example `named_generator(0, "order", epoch)`.

    torch's generator on the CPU (a Mersenne twister) starts from the lower 32 bits of its seed alone: two of n keys
    share a stream with probability n^2 / 2^33, 1 % at 9,300. A permutation and a weight drawn twice in other epochs
    move no mean, but nothing may rest on different keys never drawing the same.
    """
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *counters))


@contextmanager
def seeded_globals(seed: int, purpose: str, *counters: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's global generators, of the CPU and of `device`, inside the block and restore them after.

    For what takes no generator: the initialisers of `nn.Module`, and layers that draw, such as dropout.
    """
    device = torch.device(device)
    is_elsewhere = device.type != "cpu"
    with torch.random.fork_rng([device] if is_elsewhere else [], device_type=device.type if is_elsewhere else "cuda"):
        number = derive_seed(seed, purpose, *counters)
        torch.default_generator.manual_seed(number)
        if is_elsewhere:
            torch.get_device_module(device).manual_seed(number)
        yield


@checked
def sample_dirichlet(alpha: float, size: tuple[int, int], *, generator: torch.Generator) -> Tensor:
    """Draw rows from the symmetric Dirichlet law with concentration `alpha`.

    Of this size, (rows, P), in float64, each row at least 0 and summing to 1. Gamma variables are drawn in log space
    (log G(alpha) = log G(alpha + 1) + log(U) / alpha; Marsaglia and Tsang 2000), so that a small alpha gives rows close
    to a corner rather than 0 / 0. A `ValueError` if alpha is not positive and finite, or P is below 1.
    """
    check_positive(alpha=alpha)
    check_at_least(1, num_points=size[1])
    above_one = torch._standard_gamma(torch.full(size, alpha + 1.0, dtype=torch.float64), generator=generator)
    uniform = 1.0 - torch.rand(size, dtype=torch.float64, generator=generator)  # in (0, 1]
    # Below 1e-300 a row is a corner already, and log(U) / alpha would not be a number.
    return torch.softmax(above_one.log() + uniform.log() / max(alpha, 1e-300), dim=1)


@checked
def sample_beta(alpha: float, size: int, *, generator: torch.Generator) -> Tensor:
    """Draw (size,) float64 in [0, 1] from Beta(alpha, alpha), the first coordinate of a two-point Dirichlet law."""
    return sample_dirichlet(alpha, (size, 2), generator=generator)[:, 0]
