"""Randomness: one named generator per (seed, purpose, epoch, ...), and the laws the weights are drawn from."""

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

    torch's generator on the CPU (a Mersenne twister) starts from the lower 32 bits of its seed alone. So 2^32 streams
    stand behind the 2^63 seeds, and two keys share theirs with probability 2^-32: among the n steps of a run the chance
    that any two do is about n^2 / 2^33, one in 860,000 at 100 steps, 1 % at 9,300 and a half at 77,000. Epoch 59, step
    219 and epoch 210, step 379 of seed 0's mixing are such a pair: one permutation and one weight, drawn twice. It does
    no harm: they fall on other batches of other epochs, each stream by itself is as good, and a few pairs among tens of
    thousands of draws move no mean. But nothing may rest on different keys never drawing the same.
    """
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


@checked
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
    # Below 1e-300 a row is a corner already, and log(U) / alpha would not be a number.
    return torch.softmax(above_one.log() + uniform.log() / max(alpha, 1e-300), dim=1)


@checked
def sample_beta(alpha: float, size: int, *, generator: torch.Generator) -> Tensor:
    """Draw `size` numbers from Beta(alpha, alpha), as the first coordinate of a two-point Dirichlet law.

    Returns:
        (size,) float64 in [0, 1].

    Raises:
        ValueError: If alpha is not positive and finite.
    """
    return sample_dirichlet(alpha, (size, 2), generator=generator)[:, 0]
