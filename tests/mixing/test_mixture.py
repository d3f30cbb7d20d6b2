"""The blend of inputs and labels: values by hand, a slow twin, and what is refused."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mixscope.mixing.mixture import Mixture, blend, blend_targets, soft_cross_entropy


def naive_blend(values: Tensor, mixture: Mixture) -> Tensor:
    rows = []
    for members, weights in zip(mixture.members.tolist(), mixture.weights.tolist(), strict=True):
        rows.append(sum(weight * values[member] for member, weight in zip(members, weights, strict=True)))
    return torch.stack(rows)


def make_mixture(batch_size: int, num_points: int, seed: int = 0) -> Mixture:
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.arange(batch_size)]
    columns += [torch.randperm(batch_size, generator=generator) for _ in range(num_points - 1)]
    weights = torch.rand(batch_size, num_points, generator=generator, dtype=torch.float64)
    return Mixture(torch.stack(columns, dim=1), weights / weights.sum(dim=1, keepdim=True))


def test_two_points_blend_as_worked_by_hand():
    mixture = Mixture(torch.tensor([[0, 1], [1, 0]]), torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    values = torch.tensor([[0.0, 4.0], [8.0, 0.0]])
    assert blend(values, mixture).tolist() == [[2.0, 3.0], [4.0, 2.0]]
    targets = blend_targets(torch.tensor([2, 0]), mixture, num_classes=3)
    assert targets.tolist() == [[0.25, 0.0, 0.75], [0.5, 0.0, 0.5]]


@pytest.mark.parametrize("num_points", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(7,), (7, 4), (7, 3, 5, 6)])
def test_blend_agrees_with_a_loop_over_rows_and_members(num_points, shape):
    values = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mixture = make_mixture(7, num_points)
    expected = naive_blend(values, mixture)
    torch.testing.assert_close(blend(values, mixture), expected, rtol=1e-12, atol=1e-12)
    part = blend(values, mixture.rows(slice(2, 5)))
    torch.testing.assert_close(part, expected[2:5], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("num_points", [2, 3])
def test_blend_keeps_the_channels_last_layout(num_points):
    values = torch.randn(4, 3, 6, 5).to(memory_format=torch.channels_last)
    mixed = blend(values, make_mixture(4, num_points))
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(mixed, blend(values.contiguous(), make_mixture(4, num_points)))


def test_a_member_met_twice_counts_with_both_weights():
    mixture = Mixture(torch.tensor([[0, 1, 1], [1, 0, 1]]), torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.3, 0.5]]))
    torch.testing.assert_close(blend(torch.tensor([[0.0], [1.0]]), mixture), torch.tensor([[0.5], [0.7]]))
    targets = blend_targets(torch.tensor([0, 1]), mixture, num_classes=2)
    torch.testing.assert_close(targets, torch.tensor([[0.5, 0.5], [0.3, 0.7]]))


def test_masked_pixels_come_from_the_partner_and_labels_follow_target_weights():
    mask = torch.tensor([[[[True, False]]]])
    mixture = Mixture(
        torch.tensor([[0, 1], [1, 0]]),
        torch.full((2, 2), 0.5),
        target_weights=torch.tensor([[0.9, 0.1], [0.9, 0.1]]),
        mask=mask,
    )
    images = torch.tensor([[[[1.0, 2.0]]], [[[3.0, 4.0]]]])
    assert blend(images, mixture).tolist() == [[[[1.0, 4.0]]], [[[3.0, 2.0]]]]
    targets = blend_targets(torch.tensor([0, 1]), mixture, num_classes=2)
    torch.testing.assert_close(targets, torch.tensor([[0.9, 0.1], [0.1, 0.9]]))


def test_arguments_are_left_as_they_were():
    values, mixture = torch.randn(5, 2), make_mixture(5, 3)
    before = values.clone(), mixture.members.clone(), mixture.weights.clone()
    blend(values, mixture)
    blend_targets(torch.arange(5), mixture, num_classes=5)
    for now, then in zip((values, mixture.members, mixture.weights), before, strict=True):
        assert torch.equal(now, then)


def test_integer_values_are_refused():
    with pytest.raises(ValueError, match=r"values must be floating point, got torch.uint8"):
        blend(torch.zeros(2, 2, dtype=torch.uint8), make_mixture(2, 2))


@pytest.mark.parametrize("labels", [torch.eye(2), torch.tensor([0.0, 1.0]), torch.tensor([[0], [1]])])
def test_soft_float_or_two_dimensional_labels_are_refused(labels):
    with pytest.raises(ValueError, match=r"labels must be integers of shape \(B,\), got"):
        blend_targets(labels, make_mixture(2, 2), num_classes=2)


def test_a_mask_of_another_size_is_refused():
    mixture = Mixture(torch.tensor([[0, 0]]), torch.ones(1, 2) / 2, mask=torch.ones(1, 1, 2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"mixture.mask must have the images' size \(3, 3\), got \(2, 2\)"):
        blend(torch.zeros(1, 1, 3, 3), mixture)


def test_member_zero_must_stay_in_its_place():
    with pytest.raises(ValueError, match=r"members\[:, 0\] must be consecutive rows, got \[1, 0\]"):
        Mixture(torch.tensor([[1, 0], [0, 1]]), torch.full((2, 2), 0.5))


def test_weights_that_do_not_sum_to_one_or_do_not_fit_are_refused():
    members = torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match=r"weights must sum to 1 in every row, got rows that are off by 0\.8"):
        Mixture(members, torch.full((2, 2), 0.9))
    with pytest.raises(ValueError, match=r"members and target_weights must have the same shape \(b, P\), got \(2, 2\)"):
        Mixture(members, torch.full((2, 2), 0.5), target_weights=torch.ones(2, 3) / 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_blended_with_the_weight_the_label_has(dtype):
    mixture = Mixture(torch.tensor([[0, 1], [1, 0]]), torch.tensor([[0.7, 0.3], [0.7, 0.3]]))
    values = torch.tensor([[1000.0], [0.0]])
    assert blend(values.to(dtype), mixture)[0].item() == torch.tensor(700.0).to(dtype).item()


def test_members_and_weights_must_have_one_shape():
    with pytest.raises(ValueError, match=r"members and weights must have the same shape \(b, P\), got \(2, 2\) and"):
        Mixture(torch.tensor([[0, 1], [1, 0]]), torch.ones(2, 1))


def test_soft_cross_entropy_of_one_hot_targets_is_torchs_cross_entropy():
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(64, 10, generator=generator)
    labels = torch.randint(10, (64,), generator=generator)
    ours = soft_cross_entropy(logits, F.one_hot(labels, 10).float())
    assert abs(float(ours - F.cross_entropy(logits, labels))) <= 1e-7 * float(ours)  # float32: seen 0


def test_soft_cross_entropy_is_linear_in_the_targets():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 4, generator=generator, dtype=torch.float64)
    first, second = torch.randint(4, (2, 8), generator=generator)
    losses = [soft_cross_entropy(logits, F.one_hot(labels, 4).double()) for labels in (first, second)]
    blended = 0.3 * F.one_hot(first, 4).double() + 0.7 * F.one_hot(second, 4).double()
    torch.testing.assert_close(soft_cross_entropy(logits, blended), 0.3 * losses[0] + 0.7 * losses[1])


def test_soft_cross_entropy_refuses_integer_labels():
    with pytest.raises(ValueError, match="targets must have 2 dimensions"):
        soft_cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"targets must be float of shape \(2, 3\), got torch.int64"):
        soft_cross_entropy(torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.int64))


MEMBERS, HALVES = torch.tensor([[0, 1], [1, 0]]), torch.full((2, 2), 0.5)
MASK = torch.ones(1, 1, 2, 2, dtype=torch.bool)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members": MEMBERS - 1}, "members must be rows of the batch, at least 0, got -1"),
        ({"members": MEMBERS.float()}, "members must be int64 of shape (b, P), P at least 1, got torch.float32"),
        ({"members": MEMBERS.to(torch.uint8)}, "members must be int64 of shape (b, P), P at least 1, got torch.uint8"),
        ({"weights": MEMBERS}, "weights must be floating point, got torch.int64"),
        ({"weights": torch.tensor([[0.5, 0.5], [torch.nan, 0.5]])}, "weights must sum to 1 in every row"),
        ({"weights": torch.tensor([[0.5, 0.5], [torch.inf, -torch.inf]])}, "weights must sum to 1 in every row"),
        ({"weights": torch.tensor([[0.5, 0.5], [1.5, -0.5]])}, "weights must be at least 0, got -0.5"),
        ({"target_weights": torch.tensor([[0.5, 0.5], [1.5, -0.5]])}, "target_weights must be at least 0, got -0.5"),
        # The weights of the input are looked at where the label has its own.
        ({"weights": HALVES / 2, "target_weights": HALVES}, "weights must sum to 1 in every row"),
        ({"mask": MASK.float()}, "mask must be bool of shape (1 or 2, 1, H, W) for two members, got torch.float32"),
        ({"mask": MASK[0]}, "mask must be bool of shape (1 or 2, 1, H, W) for two members"),
        ({"mask": MASK.to("meta")}, "mask must be on the device of members, cpu, got meta"),
        ({"weights": HALVES.to("meta")}, "weights must be on the device of members, cpu, got meta"),
    ],
)
def test_a_draw_that_is_none_is_refused_when_it_is_made(changes, message):
    with pytest.raises(ValueError, match="must") as raised:
        Mixture(**({"members": MEMBERS, "weights": HALVES} | changes))
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("num_points", [1, 2, 3])
def test_a_batch_without_a_row_that_is_blended_is_refused(num_points):
    mixture = make_mixture(4, num_points)
    with pytest.raises(ValueError, match="values must hold the rows that mixture blends, up to 3, got 3"):
        blend(torch.zeros(3, 2), mixture)
    with pytest.raises(ValueError, match="labels must hold the rows that mixture blends, up to 3, got 3"):
        blend_targets(torch.zeros(3, dtype=torch.int64), mixture, num_classes=2)
    with pytest.raises(ValueError, match="values must hold the rows"):
        blend(torch.zeros(2, 2), mixture.rows(slice(2, 4)))  # as many rows as the part has


def test_a_draw_that_has_moved_to_another_device_still_knows_its_rows_and_is_not_read():
    moved = make_mixture(4, 2).to("meta").rows(slice(0, 3))  # "meta" holds no numbers: reading one would raise
    with pytest.raises(ValueError, match="values must hold the rows that mixture blends, up to 3, got 2"):
        blend(torch.zeros(2, 2, device="meta"), moved)
    assert blend(torch.zeros(4, 2, device="meta"), moved).shape == (3, 2)


def test_labels_and_classes_that_do_not_fit_are_named():
    mixture = make_mixture(2, 2)
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\), got values from 0 to 2 \(num_classes is 2\)"):
        blend_targets(torch.tensor([0, 2]), mixture, num_classes=2)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        blend_targets(torch.tensor([0, 1]), mixture, num_classes=0)
    with pytest.raises(ValueError, match="num_classes must be at most 1000000, got 1000000000000"):
        blend_targets(torch.tensor([0, 1]), mixture, num_classes=10**12)
    labels = torch.zeros(1000, dtype=torch.int64)
    with pytest.raises(ValueError, match="num_classes must ask for at most 536,870,912 numbers"):
        blend_targets(labels, make_mixture(1000, 2), num_classes=10**6)
