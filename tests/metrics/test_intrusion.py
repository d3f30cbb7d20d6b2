import math

import pytest
import torch
from torch import Tensor

from mixscope.base.generators import sample_dirichlet
from mixscope.metrics.blends import intrusion
from mixscope.metrics.blends.intrusion import IntrusionReport, intrusion_rate, nearest_examples


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=stream(seed))


def naive_nearest(queries: Tensor, examples: Tensor, excluded: Tensor | None = None) -> list[int]:
    """One difference at a time, in float64."""
    found = []
    for row, query in enumerate(queries.double()):
        left_out = set() if excluded is None else set(excluded[row].tolist())
        distances = {i: float((query - x).square().sum()) for i, x in enumerate(examples.double()) if i not in left_out}
        found.append(min(distances, key=lambda i: (distances[i], i)))
    return found


def pairs(labels: Tensor, num: int, *, weight: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    members = torch.randint(len(labels), (num, 2), generator=stream(seed))
    return members, torch.tensor([weight, 1 - weight], dtype=torch.float64).expand(num, 2)


def test_five_blends_by_hand() -> None:
    # Classes 0, 1, 2 at 0, 1 and 2 on a line.
    real, labels = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 1, 2])
    members = torch.tensor([[0, 2], [0, 2], [0, 1], [0, 2], [2, 0]])
    weights = torch.tensor([[0.5, 0.5], [0.6, 0.4], [0.75, 0.25], [0.9, 0.1], [1.0, 0.0]])
    mixed = (weights[:, :, None] * real[members]).sum(dim=1)  # 1.0, 0.8, 0.25, 0.2, 2.0
    report = intrusion_rate(mixed, labels[members], weights, real_inputs=real, real_labels=labels, members=None)
    assert report.intruded.tolist() == [True, True, False, False, False]
    assert report.rate == pytest.approx(2 / 5)
    assert report.edges.tolist() == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert report.counts.tolist() == [1, 1, 1, 0, 2]  # 0.6 and 0.9 open their bins, 1.0 closes the last
    assert report.rates[[0, 1, 2, 4]].tolist() == [1, 1, 0, 0]
    assert math.isnan(report.rates[3])


def test_left_out_members_change_who_is_asked() -> None:
    real, labels = torch.tensor([[0.0], [0.3], [2.0]]), torch.tensor([0, 1, 2])
    members, weights = torch.tensor([[0, 2]]), torch.tensor([[0.95, 0.05]])
    mixed = torch.tensor([[0.1]])
    arguments = (mixed, labels[members], weights)
    assert intrusion_rate(*arguments, real_inputs=real, real_labels=labels, members=None).rate == 0
    assert intrusion_rate(*arguments, real_inputs=real, real_labels=labels, members=members).rate == 1


def test_class_of_a_member_of_weight_zero_is_not_in_the_label() -> None:
    real, labels = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])
    arguments = (torch.tensor([[1.0]]), torch.tensor([[0, 1]]), torch.tensor([[1.0, 0.0]]))
    assert intrusion_rate(*arguments, real_inputs=real, real_labels=labels, members=None).rate == 1


def test_digits_are_intruded_in_the_middle_and_hardly_at_the_ends() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images, labels = torch.tensor(digits.data), torch.tensor(digits.target)
    rates = []
    for weight in (0.5, 0.7, 0.9):
        members, weights = pairs(labels, 5000, weight=weight)
        mixed = (weights[:, :, None] * images[members]).sum(dim=1)
        report = intrusion_rate(
            mixed, labels[members], weights, real_inputs=images, real_labels=labels, members=members
        )
        rates.append(report.rate)
    # An earlier study: .129 and .009; 5,000 pairs have standard errors of .005 and .0014, theirs unknown.
    assert rates[0] == pytest.approx(0.129, abs=0.015)
    assert rates[2] == pytest.approx(0.009, abs=0.005)
    assert rates[0] > rates[1] > rates[2]


@pytest.mark.parametrize("offset", [0.0, 1e4, 1e7])
def test_nearest_examples_agree_with_differences_one_by_one(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intrusion, "BLOCK_VALUES", 100)  # several blocks
    examples, queries = normal(60, 5, seed=1) + offset, normal(40, 5, seed=2) + offset
    excluded = torch.randint(60, (40, 3), generator=stream(3))
    assert nearest_examples(queries, examples).tolist() == naive_nearest(queries, examples)
    found = nearest_examples(queries, examples, excluded=excluded)
    assert found.tolist() == naive_nearest(queries, examples, excluded)


def test_nearest_examples_keep_their_digits_in_a_tight_cluster_far_from_the_mean() -> None:
    # Distances of 1e-6 at a distance of 1e6: their squares differ in the 24th digit of the squared lengths.
    cluster = 1e6 + 1e-6 * normal(50, 4, seed=4)
    examples = torch.cat([cluster, -1e6 + normal(50, 4, seed=5)])
    queries = 1e6 + 1e-6 * normal(30, 4, seed=6)
    assert nearest_examples(queries, examples).tolist() == naive_nearest(queries, examples)


def test_nearest_examples_take_the_first_of_equal_ones() -> None:
    examples = torch.tensor([[2.0], [1.0], [1.0], [-1.0]])
    assert nearest_examples(torch.tensor([[0.0], [1.0], [2.0]]), examples).tolist() == [1, 1, 0]


def test_nothing_changes_under_shift_rotation_scale_relabelling_and_order() -> None:
    images, labels = normal(80, 6, seed=7), torch.arange(80) % 4
    members = torch.randint(80, (200, 2), generator=stream(8))
    weights = sample_dirichlet(1.0, (200, 2), generator=stream(9))
    rotation = torch.linalg.qr(normal(6, 6, seed=10))[0]

    def measure(inputs: Tensor, classes: Tensor, order: Tensor) -> IntrusionReport:
        mixed = (weights[:, :, None] * inputs[members]).sum(dim=1)
        return intrusion_rate(
            mixed[order],
            classes[members][order],
            weights[order],
            real_inputs=inputs,
            real_labels=classes,
            members=members[order],
        )

    in_order = torch.arange(200)
    expected = measure(images, labels, in_order)
    assert 0.05 < expected.rate < 0.95
    relabelled = torch.tensor([9, 3, 0, 6])[labels]
    moved = 7 * (images @ rotation) + 100
    for inputs, classes in ((moved, labels), (images, relabelled)):
        found = measure(inputs, classes, in_order)
        assert torch.equal(found.intruded, expected.intruded)
        assert torch.equal(found.counts, expected.counts)
    backwards = measure(images, labels, in_order.flip(0))
    assert torch.equal(backwards.intruded.flip(0), expected.intruded)


def test_images_are_flattened_and_three_members_have_bins_from_a_third() -> None:
    images, labels = normal(30, 1, 2, 3, seed=11), torch.arange(30) % 5
    members = torch.randint(30, (50, 3), generator=stream(12))
    weights = sample_dirichlet(1.0, (50, 3), generator=stream(13)).float()
    mixed = torch.einsum("mp,mpchw->mchw", weights.double(), images[members])
    found = intrusion_rate(mixed, labels[members], weights, real_inputs=images, real_labels=labels, members=None)
    flat = intrusion_rate(
        mixed.flatten(1), labels[members], weights, real_inputs=images.flatten(1), real_labels=labels, members=None
    )
    assert torch.equal(found.intruded, flat.intruded)
    assert float(found.edges[0]) == pytest.approx(1 / 3)
    assert int(found.counts.sum()) == 50
    weighted = float((found.rates.nan_to_num() * found.counts).sum() / found.counts.sum())
    assert found.rate == pytest.approx(weighted)


def test_own_edges_leave_blends_outside_out_of_the_bins_only() -> None:
    real, labels = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])
    weights = torch.tensor([[0.5, 0.5], [0.7, 0.3]])
    report = intrusion_rate(
        torch.tensor([[0.5], [0.3]]),
        torch.tensor([[0, 1], [0, 1]]),
        weights,
        real_inputs=real,
        real_labels=labels,
        members=None,
        edges=(0.6, 0.8),
    )
    assert report.counts.tolist() == [1]


def call(**changes):
    arguments = {
        "mixed": torch.zeros(2, 3),
        "member_labels": torch.zeros(2, 2, dtype=torch.int64),
        "weights": torch.full((2, 2), 0.5),
        "real_inputs": torch.zeros(4, 3),
        "real_labels": torch.zeros(4, dtype=torch.int64),
        "members": None,
    } | changes
    own = [arguments.pop(name) for name in ("mixed", "member_labels", "weights")]
    return intrusion_rate(*own, **arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mixed": torch.zeros(2)}, r"mixed must have one row per example, got shape \(2,\)"),
        ({"mixed": torch.zeros(3, 3)}, "mixed and member_labels and weights must have the same length, got 3 and 2"),
        ({"mixed": torch.zeros(2, 4)}, r"mixed must have shape \(2, 3\), got \(2, 4\) \(to fit real_inputs\)"),
        ({"mixed": torch.zeros(2, 3, dtype=torch.int64)}, "mixed must be floating point, got torch.int64"),
        ({"mixed": torch.full((2, 3), math.nan)}, "mixed must be finite, got 6 NaN"),
        (
            {"real_inputs": torch.zeros(0, 3), "real_labels": torch.zeros(0)},
            "real_inputs must hold at least one example, got 0",
        ),
        ({"real_labels": torch.zeros(4)}, "real_labels must be integers, got torch.float32"),
        ({"member_labels": torch.zeros(2, 2)}, "member_labels must be integers, got torch.float32"),
        ({"member_labels": torch.zeros(2, 3)}, r"member_labels must have shape \(2, 2\), got \(2, 3\)"),
        ({"weights": torch.full((2, 2), 0.6)}, "sum to 1, got a smallest weight of 0.6 and sums from 1.2 to 1.2"),
        ({"weights": torch.tensor([[1.5, -0.5]] * 2)}, "got a smallest weight of -0.5"),
        ({"edges": (0.5, 0.5)}, r"edges must be at least two increasing numbers, got \[0.5, 0.5\]"),
        ({"members": torch.zeros(2, 3, dtype=torch.int64)}, r"members must have shape \(2, 2\), got \(2, 3\)"),
        ({"members": torch.full((2, 2), 4)}, r"members must lie in \[0, 4\), got values from 4 to 4"),
        (
            {"real_inputs": torch.zeros(1, 3), "real_labels": torch.tensor([0]), "members": torch.zeros(2, 2).long()},
            "excluded must leave every query an example, got all 1 left out",
        ),
        (
            {"mixed": torch.full((2, 3), 1e200, dtype=torch.float64)},
            "queries and examples must have squares that float64 can hold, got an overflow",
        ),
    ],
)
def test_bad_input_is_named(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(**changes)
