import math

import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits, load_iris
from torch import Tensor

from mixscope.base.generators import sample_dirichlet
from mixscope.theory.labels.blended_regression import convex_noise_floor, mixup_noise
from mixscope.theory.labels.gaussian_classes import GaussianClasses, class_triangle
from mixscope.theory.labels.noisy_labels import (
    LabelNoise,
    coupled_labels,
    gaussian_label_noise,
    independent_labels,
    label_noise,
    label_noise_curve,
    one_hot_variation,
)

# The side of this triangle over the spread was fitted to the rates that it should give.
OVERLAPPING = class_triangle(2.2)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=stream(seed))


def four_classes() -> GaussianClasses:
    return GaussianClasses(normal(4, 3, seed=3), spread=0.7)


def random_noise(num: int, num_classes: int, *, seed: int = 0) -> LabelNoise:
    rows = [sample_dirichlet(0.4, (num, num_classes), generator=stream(seed + 10 * i)) for i in range(3)]
    weights = torch.rand(num, dtype=torch.float64, generator=stream(seed + 1))
    return label_noise(*rows, mixing_weight=weights)


def test_posterior_is_bayes_rule_with_the_densities_of_another_library() -> None:
    classes, inputs = four_classes(), 2 * normal(50, 3, seed=4)
    laws = [multivariate_normal(mean, classes.spread**2) for mean in classes.means.numpy()]
    densities = torch.stack([torch.from_numpy(law.pdf(inputs.numpy())) for law in laws], dim=1)
    expected = densities / densities.sum(dim=1, keepdim=True)
    torch.testing.assert_close(classes.posterior(inputs), expected, rtol=1e-11, atol=1e-14)


def test_posterior_follows_shift_scale_and_rotation_of_the_world() -> None:
    classes, inputs = four_classes(), 2 * normal(50, 3, seed=4)
    expected = classes.posterior(inputs)
    turn = torch.linalg.qr(normal(3, 3, seed=5)).Q
    for means, spread, points in (
        (classes.means + 100.0, classes.spread, inputs + 100.0),
        (1e-3 * classes.means, 1e-3 * classes.spread, 1e-3 * inputs),
        (classes.means @ turn.T, classes.spread, inputs @ turn.T),
    ):
        moved = GaussianClasses(means, spread)
        torch.testing.assert_close(moved.posterior(points), expected, rtol=1e-9, atol=1e-12)  # 100 costs two digits


def test_posterior_far_from_all_classes_is_still_a_distribution() -> None:
    rows = four_classes().posterior(torch.tensor([[1e8, -1e8, 1e8], [0.0, 0.0, 0.0]]))
    assert torch.allclose(rows.sum(dim=1), torch.ones(2, dtype=torch.float64))


def test_samples_have_equal_shares_and_the_means_and_the_spread() -> None:
    classes = four_classes()
    inputs, labels = classes.sample(200_000, generator=stream(7))
    for index in range(4):
        own = inputs[labels == index]
        assert len(own) / 200_000 == pytest.approx(0.25, abs=0.005)
        # Standard errors are below 0.005 at 50,000 examples.
        torch.testing.assert_close(own.mean(dim=0), classes.means[index], rtol=0, atol=0.02)
        expected = 0.49 * torch.eye(3, dtype=torch.float64)
        torch.testing.assert_close(torch.cov(own.T, correction=0), expected, rtol=0.06, atol=0.02)


def naive_variation(given: list[float], true: list[float]) -> float:
    """Return the largest difference over all events, by trying each."""
    size = len(given)
    events = [[k for k in range(size) if event >> k & 1] for event in range(2**size)]
    return max(abs(sum(given[k] - true[k] for k in event)) for event in events)


def test_total_variation_is_the_largest_difference_over_all_events() -> None:
    noise = random_noise(100, 5)
    expected = [naive_variation(p, q) for p, q in zip(noise.given.tolist(), noise.true.tolist(), strict=True)]
    assert noise.total_variation.tolist() == pytest.approx(expected, abs=1e-13)


def test_distance_is_at_least_the_largest_gap_and_equal_to_it_for_up_to_three_classes() -> None:
    for num_classes in (2, 3):
        noise = random_noise(10_000, num_classes)
        torch.testing.assert_close(noise.total_variation, noise.largest_gap, rtol=1e-11, atol=1e-14)
    noise = random_noise(10_000, 6)
    assert bool((noise.total_variation >= noise.largest_gap - 1e-15).all())
    assert float((noise.total_variation - noise.largest_gap).max()) > 0.1


def test_drawn_labels_obey_the_distance_for_every_pair() -> None:
    inputs, _ = OVERLAPPING.sample(20_000, generator=stream(1))
    partners, _ = OVERLAPPING.sample(20_000, generator=stream(2))
    for weight in (0.1, 0.3, 0.5):
        noise = gaussian_label_noise(OVERLAPPING, inputs, partners, mixing_weight=weight)
        assert bool((noise.independent_rate >= noise.total_variation - 1e-12).all())  # 60,000 pairs, none below
        assert bool((noise.total_variation >= noise.largest_gap - 1e-12).all())


def test_most_probable_labels_do_not_obey_the_distance() -> None:
    weights = torch.tensor([0.1, 0.3, 0.5])
    curve = label_noise_curve(OVERLAPPING, mixing_weights=weights, num_pairs=20_000, generator=stream())
    # Standard errors are below 0.002; the rest is the geometry, which was fitted.
    torch.testing.assert_close(curve.argmax_rate, torch.tensor([0.017, 0.088, 0.108]).double(), rtol=0, atol=0.01)
    torch.testing.assert_close(curve.total_variation, torch.tensor([0.065, 0.170, 0.212]).double(), rtol=0, atol=0.01)
    assert bool((curve.argmax_rate < curve.total_variation).all())  # not even in the mean
    assert bool((curve.argmax_failures > 0.88).all())  # seen .98, .91, .90
    assert bool((curve.independent_rate > curve.total_variation).all())


def test_most_probable_labels_agree_where_the_distance_is_three_tenths() -> None:
    noise = label_noise(
        torch.tensor([[0.6, 0.4]]), torch.tensor([[0.6, 0.4]]), torch.tensor([[0.9, 0.1]]), mixing_weight=0.5
    )
    assert not noise.argmax_differs.any()
    assert float(noise.total_variation) == pytest.approx(0.3, abs=1e-7)  # inputs of float32
    assert bool(noise.argmax_fails.all())


def test_curve_is_the_mean_of_its_pairs() -> None:
    curve = label_noise_curve(OVERLAPPING, mixing_weights=torch.tensor([0.3]), num_pairs=500, generator=stream(3))
    generator = stream(3)
    (inputs, _), (partners, _) = (OVERLAPPING.sample(500, generator=generator) for _ in range(2))
    noise = gaussian_label_noise(OVERLAPPING, inputs, partners, mixing_weight=torch.full((500,), 0.3))
    assert float(curve.total_variation) == pytest.approx(float(noise.total_variation.mean()), rel=1e-6)
    assert float(curve.argmax_rate) == pytest.approx(float(noise.argmax_differs.double().mean()))


@pytest.mark.parametrize("draw", [independent_labels, coupled_labels])
def test_drawn_labels_have_the_two_laws_and_differ_as_often_as_said(draw) -> None:
    single = random_noise(1, 5, seed=4)
    many = LabelNoise(*(values.expand(200_000, *values.shape[1:]) for values in vars(single).values()))
    given, true = draw(many, generator=stream(8))
    # Standard error of a share of 200,000 draws: at most 0.0011.
    for labels, law in ((given, single.given), (true, single.true)):
        torch.testing.assert_close(torch.bincount(labels, minlength=5) / 2e5, law[0].float(), rtol=0, atol=0.005)
    rate = single.independent_rate if draw is independent_labels else single.total_variation
    assert float((given != true).double().mean()) == pytest.approx(float(rate), abs=0.005)
    assert float(single.independent_rate) > float(single.total_variation) + 0.02


def test_coupled_labels_attain_the_mean_distance_on_blends() -> None:
    inputs, _ = OVERLAPPING.sample(100_000, generator=stream(1))
    partners, _ = OVERLAPPING.sample(100_000, generator=stream(2))
    noise = gaussian_label_noise(OVERLAPPING, inputs, partners, mixing_weight=0.4)
    given, true = coupled_labels(noise, generator=stream(3))
    assert float((given != true).double().mean()) == pytest.approx(float(noise.total_variation.mean()), abs=0.006)


def test_labels_of_probability_zero_are_never_drawn() -> None:
    rows = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5]]).double().repeat(50_000, 1)
    noise = label_noise(rows, rows, rows.flip(1), mixing_weight=0.5)
    for given, true in (independent_labels(noise, generator=stream()), coupled_labels(noise, generator=stream())):
        assert float(noise.given.gather(1, given[:, None]).min()) > 0
        assert float(noise.true.gather(1, true[:, None]).min()) > 0


def test_certain_labels_have_the_distances_of_the_table() -> None:
    # (i, j, k): k a third class, k = i, k = j, all the same, and i = j with another k.
    first, second, true = torch.tensor([[0, 1, 2], [0, 1, 0], [0, 1, 1], [2, 2, 2], [1, 1, 0]]).T
    for weight in (0.0, 0.3, 0.5, 0.8):
        expected = [1.0, 1 - weight, weight, 0.0, 1.0]
        assert one_hot_variation(first, second, true, mixing_weight=weight).tolist() == pytest.approx(expected)
        rows = torch.eye(3, dtype=torch.float64)
        noise = label_noise(rows[first], rows[second], rows[true], mixing_weight=weight)
        assert noise.total_variation.tolist() == pytest.approx(expected)
        assert noise.independent_rate.tolist() == pytest.approx(expected)  # certain: no coupling to choose
        assert noise.argmax_differs[[0, 4]].all()
        assert not noise.argmax_differs[3]


def nearest_classes(inputs: Tensor, labels: Tensor, *, weight: float, num_pairs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the classes of both members and of the nearest other example, for random pairs."""
    first, second = (torch.randint(len(inputs), (num_pairs,), generator=stream(seed)) for seed in (1, 2))
    distances = torch.cdist(torch.lerp(inputs[second], inputs[first], weight), inputs)
    rows = torch.arange(num_pairs)
    distances[rows, first] = distances[rows, second] = math.inf
    return labels[first], labels[second], labels[distances.argmin(dim=1)]


@pytest.mark.parametrize(("load", "even", "uneven"), [(load_digits, 0.129, 0.009), (load_iris, 0.224, 0.042)])
def test_blends_of_real_examples_intrude_on_third_classes_most_when_even(load, even: float, uneven: float) -> None:
    images, classes = load(return_X_y=True)
    inputs, labels = torch.from_numpy(images), torch.from_numpy(classes)
    rates = []
    for weight in (0.5, 0.6, 0.7, 0.8, 0.9):
        first, second, true = nearest_classes(inputs, labels, weight=weight, num_pairs=4000)
        variation = one_hot_variation(first, second, true, mixing_weight=weight)
        rates.append(float((variation == 1).double().mean()))
        if load is load_digits and weight == 0.6:
            noise = label_noise(*(torch.eye(10)[part] for part in (first, second, true)), mixing_weight=weight)
            # Standard errors 0.005 and 0.004.
            assert float(noise.argmax_differs.double().mean()) == pytest.approx(0.100, abs=0.02)
            assert float(variation.mean()) == pytest.approx(0.400, abs=0.015)
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(even, abs=0.025)  # standard error .005 on digits, .007 on iris
    assert rates[-1] == pytest.approx(uneven, abs=0.012)


def test_noise_is_zero_at_the_ends_of_the_weights_and_between_equal_examples() -> None:
    inputs, partners = normal(40, 2, seed=1), normal(40, 2, seed=2)
    for weight in (0.0, 1.0):
        noise = gaussian_label_noise(OVERLAPPING, inputs, partners, mixing_weight=weight)
        assert float(noise.total_variation.max()) == 0
        assert not noise.argmax_fails.any()
    same = gaussian_label_noise(OVERLAPPING, inputs, inputs, mixing_weight=0.37)
    assert float(same.total_variation.max()) < 1e-14
    assert not same.argmax_fails.any()


def test_noise_of_swapped_members_is_that_of_the_other_weight() -> None:
    inputs, partners = normal(40, 2, seed=1), normal(40, 2, seed=2)
    one = gaussian_label_noise(OVERLAPPING, inputs, partners, mixing_weight=0.3)
    other = gaussian_label_noise(OVERLAPPING, partners, inputs, mixing_weight=0.7)
    torch.testing.assert_close(one.total_variation, other.total_variation, rtol=1e-11, atol=1e-14)


def test_noise_of_a_quadratic_teacher_is_its_floor() -> None:
    inputs, partners = 3 + normal(50, 4, seed=1), 5 * normal(50, 4, seed=2)
    weights = torch.rand(50, dtype=torch.float64, generator=stream(3))
    noise = mixup_noise(lambda x: 0.85 * x.square().sum(dim=1), inputs, partners, mixing_weight=weights)
    floor = convex_noise_floor(inputs, partners, mixing_weight=weights, convexity=1.7)
    torch.testing.assert_close(noise, floor, rtol=1e-10, atol=1e-12)


def test_noise_of_a_strongly_convex_teacher_is_above_its_floor_and_positive() -> None:
    inputs, partners = normal(5000, 3, seed=1), 2 * normal(5000, 3, seed=2)
    weights = 0.01 + 0.98 * torch.rand(5000, dtype=torch.float64, generator=stream(3))
    direction = normal(3, seed=4)

    def teacher(x: Tensor) -> Tensor:
        return 0.4 * x.square().sum(dim=1) + (x @ direction).exp() + (x @ direction).abs()

    noise = mixup_noise(teacher, inputs, partners, mixing_weight=weights)
    floor = convex_noise_floor(inputs, partners, mixing_weight=weights, convexity=0.8)
    assert bool((noise >= floor * (1 - 1e-9) - 1e-12).all())
    assert bool((noise > 0).all())
    assert float((noise - floor).max()) > 0.1


def test_noise_of_a_linear_teacher_is_zero() -> None:
    direction = normal(3, seed=4)
    noise = mixup_noise(lambda x: x @ direction + 2.0, normal(50, 3), normal(50, 3, seed=1), mixing_weight=0.3)
    assert float(noise.abs().max()) < 1e-14


def rows(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize(
    ("parts", "weight", "message"),
    [
        ((rows(1.0), rows(1.0), rows(1.0)), 0.5, "posteriors, partner_posteriors and blend_posteriors must be"),
        (
            (rows(0.5, 0.6), rows(1, 0), rows(1, 0)),
            0.5,
            "posteriors must have rows at least 0 that sum to 1 within 0.0001, got a smallest entry of",
        ),
        ((rows(1, 0), rows(1.5, -0.5), rows(1, 0)), 0.5, "partner_posteriors must have rows at least 0 that sum to 1"),
        ((rows(1, 0), rows(1, 0), rows(math.nan, 0)), 0.5, "blend_posteriors must be finite, got 1 NaN or infinite"),
        (
            (rows(1, 0), rows(1, 0, 0), rows(1, 0)),
            0.5,
            r"posteriors, partner_posteriors and blend_posteriors must be \(M, K\) alike, K at least 2, got \(1, 2\)",
        ),
        ((rows(1, 0),) * 3, 1.5, r"mixing_weight must lie in \[0, 1\], got values from 1.5 to 1.5"),
        ((rows(1, 0),) * 3, torch.ones(3), r"mixing_weight must be a number or have shape \(1,\), got \(3,\)"),
    ],
)
def test_label_noise_says_what_is_wrong(parts, weight, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        label_noise(*parts, mixing_weight=weight)


def test_worlds_and_teachers_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"^means must be of at least two classes, got 1$"):
        GaussianClasses(torch.zeros(1, 2), spread=1.0)
    with pytest.raises(ValueError, match=r"^spread must be positive and finite, got 0.0$"):
        GaussianClasses(torch.zeros(2, 2), spread=0.0)
    with pytest.raises(ValueError, match=r"^means must be finite, got 1 NaN or infinite values$"):
        GaussianClasses(torch.tensor([[0.0], [math.inf]]), spread=1.0)
    with pytest.raises(ValueError, match=r"^inputs must have shape \(4, 2\), got \(4, 3\) \(to fit the means\)$"):
        OVERLAPPING.posterior(torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"^num_examples must be at least 1, got 0$"):
        OVERLAPPING.sample(0, generator=stream())
    with pytest.raises(ValueError, match=r"^inputs and partners must have the same shape \(M, D0\), got \(4, 2\) and"):
        gaussian_label_noise(OVERLAPPING, torch.zeros(4, 2), torch.zeros(3, 2), mixing_weight=0.5)
    with pytest.raises(ValueError, match=r"^first, second and true must have the same shape \(M,\), got \(2,\) and"):
        one_hot_variation(torch.zeros(2), torch.zeros(3), torch.zeros(2), mixing_weight=0.5)
    with pytest.raises(ValueError, match=r"^radius must be positive and finite, got -1.0$"):
        class_triangle(-1.0)
    with pytest.raises(ValueError, match=r"^convexity must be at least 0 and finite, got -1.0$"):
        convex_noise_floor(torch.zeros(1, 2), torch.zeros(1, 2), mixing_weight=0.5, convexity=-1.0)
    with pytest.raises(ValueError, match=r"^inputs and partners must have the same shape \(M, D0\), got \(1, 2\) and"):
        mixup_noise(lambda x: x.sum(dim=1), torch.zeros(1, 2), torch.zeros(2, 2), mixing_weight=0.5)
    with pytest.raises(ValueError, match=r"^mixing_weight must be a number or have shape \(1,\), got \(2,\)$"):
        mixup_noise(lambda x: x.sum(dim=1), torch.zeros(1, 2), torch.zeros(1, 2), mixing_weight=torch.zeros(2))
