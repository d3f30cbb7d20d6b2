"""Randomness: one named generator per (seed, purpose, epoch, ...), and the laws the weights are drawn from."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from mixscope._checks import check_at_least, check_positive


def derive_seed(seed: int, purpose: str, *counters: int) -> int:
    """Derive a 63-bit seed from a run's seed, what the numbers are for, and counters such as epoch, step and rank.

    SHA-256 of the written-out key: different keys give unrelated streams, on every machine and version alike.
    """
    key = "/".join(["mixscope", str(int(seed)), purpose, *(str(int(counter)) for counter in counters)])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def named_generator(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """Return a fresh CPU generator for one purpose, for example `named_generator(0, "order", epoch)`."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *counters))


@contextmanager
def seeded_globals(seed: int, purpose: str, *counters: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's global generators inside the block and restore them after.

    For what takes no generator: the initialisers of `nn.Module`, and layers that draw, such as dropout.

    Args:
        seed: The run's seed.
        purpose: What the numbers are for.
        counters: As for `named_generator`.
        device: Where the layers draw; the CPU's generator is seeded in any case.
    """
    device = torch.device(device)
    is_elsewhere = device.type != "cpu"
    with torch.random.fork_rng([device] if is_elsewhere else [], device_type=device.type if is_elsewhere else "cuda"):
        number = derive_seed(seed, purpose, *counters)
        torch.default_generator.manual_seed(number)
        if is_elsewhere:
            torch.get_device_module(device).manual_seed(number)
        yield


def sample_dirichlet(alpha: float, size: tuple[int, int], *, generator: torch.Generator) -> Tensor:
    """Draw rows from the symmetric Dirichlet law with concentration `alpha`.

    Gamma variables are drawn in log space (log G(alpha) = log G(alpha + 1) + log(U) / alpha; Marsaglia and Tsang
    2000), so that a small alpha gives rows close to a corner rather than 0 / 0.

    Args:
        alpha: Concentration of every coordinate, positive.
        size: (rows, P), with P at least 1.
        generator: A CPU generator.

    Returns:
        (rows, P) float64, each row at least 0 and summing to 1.

    Raises:
        ValueError: If alpha is not positive and finite, or P is below 1.
    """
    check_positive(alpha=alpha)
    check_at_least(1, num_points=size[1])
    above_one = torch._standard_gamma(torch.full(size, alpha + 1.0, dtype=torch.float64), generator=generator)
    uniform = 1.0 - torch.rand(size, dtype=torch.float64, generator=generator)  # in (0, 1]
    return torch.softmax(above_one.log() + uniform.log() / alpha, dim=1)


def sample_beta(alpha: float, size: int, *, generator: torch.Generator) -> Tensor:
    """Draw `size` numbers from Beta(alpha, alpha), as the first coordinate of a two-point Dirichlet law.

    Returns:
        (size,) float64 in [0, 1].

    Raises:
        ValueError: If alpha is not positive and finite.
    """
    return sample_dirichlet(alpha, (size, 2), generator=generator)[:, 0]
