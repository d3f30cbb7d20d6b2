"""Named generators and the laws of the weights."""

import math

import pytest
import torch

from mixscope.base.generators import derive_seed, named_generator, sample_beta, sample_dirichlet, seeded_globals


def test_the_same_key_gives_the_same_numbers_and_another_key_others():
    def draw(*key):
        return torch.rand(4, generator=named_generator(*key)).tolist()

    assert draw(0, "order", 3) == draw(0, "order", 3)
    others = [draw(1, "order", 3), draw(0, "mixing", 3), draw(0, "order", 4), draw(0, "order", 3, 0), draw(0, "order")]
    assert all(other != draw(0, "order", 3) for other in others)


def test_keys_that_run_together_when_written_stay_apart():
    seeds = {derive_seed(1, "a", 11), derive_seed(1, "a", 1, 1), derive_seed(11, "a", 1), derive_seed(1, "a1", 1)}
    assert len(seeds) == 4


def test_seeds_are_the_same_on_every_machine():
    import hashlib

    digest = hashlib.sha256(b"mixscope/0/order/1").digest()
    assert derive_seed(0, "order", 1) == int.from_bytes(digest[:8], "big") // 2


def test_torchs_generator_uses_the_lower_32_bits_of_a_seed_so_that_two_keys_can_draw_the_same():
    # What `named_generator` says of itself; a new rule of torch would change every draw of the records.
    keys = (0, "mixing", 59, 219), (0, "mixing", 210, 379)
    first, second = (derive_seed(*key) for key in keys)
    assert first != second
    assert first % 2**32 == second % 2**32
    draws = [torch.randperm(128, generator=named_generator(*key)) for key in keys]
    assert torch.equal(*draws)


def test_among_many_steps_no_more_keys_share_their_stream_than_chance_has_it():
    # 200,000 steps: n^2 / 2^33 = 4.7 pairs expected; above 20 with probability 1e-7.
    streams = {derive_seed(0, "mixing", epoch, step) % 2**32 for epoch in range(400) for step in range(500)}
    assert 200_000 - len(streams) <= 20


def test_seeding_the_globals_is_undone():
    before = torch.get_rng_state()
    with seeded_globals(0, "init"):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded_globals(0, "init"):
        assert torch.equal(torch.rand(3), first)


@pytest.mark.parametrize("num_points", [2, 3, 5])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 4.0])
def test_dirichlet_weights_have_their_exact_moments(alpha, num_points):
    size = 40_000
    weights = sample_dirichlet(alpha, (size, num_points), generator=named_generator(0, "test"))
    assert bool((weights >= 0).all())
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(size, dtype=torch.float64), rtol=1e-12, atol=0)
    mean, second = 1 / num_points, (alpha + 1) / (num_points * (num_points * alpha + 1))
    deviation = math.sqrt(second - mean**2)
    # Five standard errors of each sample mean; a square of a number in [0, 1] deviates by at most 1/2.
    assert abs(float(weights[:, 0].mean()) - mean) < 5 * deviation / math.sqrt(size)
    assert abs(float(weights[:, 0].square().mean()) - second) < 5 * 0.5 / math.sqrt(size)


def test_a_tiny_concentration_gives_corners_and_no_nan():
    weights = sample_dirichlet(1e-6, (1000, 3), generator=named_generator(0, "test"))
    assert bool(torch.isfinite(weights).all())
    assert float(weights.max(dim=1).values.min()) > 0.999


def test_beta_agrees_with_scipys_distribution_function():
    from scipy import stats

    sample = sample_beta(0.4, 20_000, generator=named_generator(0, "test")).numpy()
    assert stats.kstest(sample, stats.beta(0.4, 0.4).cdf).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [5e-324, 1e-308, 1e12, 1e308])
def test_weights_are_shares_at_the_ends_of_the_range_of_concentrations(alpha):
    weights = sample_dirichlet(alpha, (100, 3), generator=named_generator(0, "test"))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(100, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan, math.inf])
def test_a_concentration_that_is_not_positive_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha must be positive and finite, got"):
        sample_beta(alpha, 3, generator=named_generator(0, "test"))
