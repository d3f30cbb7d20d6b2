import math

import pytest
import torch

from mixscope.base.simplex import (
    center_rows,
    project_to_classifier_plane,
    simplex_etf,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def side_lengths(corners: torch.Tensor) -> list[float]:
    return torch.pdist(corners).tolist()


@pytest.mark.parametrize(
    ("num_classes", "dim", "scale"), [(2, 1, 1.0), (3, 2, 0.5), (4, 3, 2.0), (10, 64, 3.0), (100, 99, 1.0)]
)
def test_simplex_rows_have_the_asked_length_and_equal_angles_and_sum_to_zero(
    num_classes: int, dim: int, scale: float
) -> None:
    frame = simplex_etf(num_classes, dim, scale=scale, generator=generator())
    identity = torch.eye(num_classes, dtype=torch.float64)
    expected = scale**2 * (num_classes * identity - 1) / (num_classes - 1)
    assert frame.shape == (num_classes, dim)
    assert frame.dtype is torch.float64
    torch.testing.assert_close(frame @ frame.T, expected, rtol=0, atol=1e-12 * scale**2)
    assert float(frame.sum(dim=0).abs().max()) < 1e-12 * scale * num_classes


def test_simplex_repeats_with_its_generator_and_turns_with_another() -> None:
    first, again, other = (simplex_etf(4, 6, generator=generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert float((first - other).abs().max()) > 0.1


def test_simplex_orientation_has_no_preferred_direction() -> None:
    # Without the sign fix of the triangular factor the first coordinate would keep one sign.
    stream = generator(3)
    first = torch.stack([simplex_etf(3, 2, generator=stream)[2] for _ in range(400)])
    assert float(first.mean(dim=0).abs().max()) < 0.15  # the standard error of each mean is 0.035


def test_simplex_needs_room_for_its_rows() -> None:
    with pytest.raises(ValueError, match=r"dim must be at least num_classes - 1 = 4, got 3"):
        simplex_etf(5, 3, generator=generator())
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        simplex_etf(1, 3, generator=generator())
    with pytest.raises(ValueError, match="scale must be positive and finite, got 0"):
        simplex_etf(3, 3, scale=0, generator=generator())


def test_centred_rows_sum_to_zero() -> None:
    assert center_rows(torch.tensor([[1.0, 5.0], [3.0, 1.0]])).tolist() == [[-1.0, 2.0], [1.0, -2.0]]


@pytest.mark.parametrize("classes", [(0, 1, 2), (4, 0, 2), (3, 2, 1)])
def test_classifiers_of_a_simplex_become_an_equilateral_triangle(classes: tuple[int, int, int]) -> None:
    frame = simplex_etf(5, 8, scale=2.0, generator=generator())
    corners = project_to_classifier_plane(frame, frame, classes=classes)[list(classes)]
    side = 2.0 * math.sqrt(2 * 5 / 4)  # |w_i - w_j|
    assert side_lengths(corners) == pytest.approx([side] * 3, abs=1e-12)
    # First class right below, second left below, third on top.
    expected = [[side / 2, -side / math.sqrt(12)], [-side / 2, -side / math.sqrt(12)], [0.0, side / math.sqrt(3)]]
    torch.testing.assert_close(corners, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


def naive_projection(features: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """X = A Q (H - mu)^T written out; Q by the inverse square root on the plane instead of a singular value split."""
    middle = rows.mean(dim=0)
    moved = rows - middle
    values, vectors = torch.linalg.eigh(moved @ moved.T)
    inverse_root = sum(
        torch.outer(vectors[:, k], vectors[:, k]) / values[k].sqrt() for k in range(3) if values[k] > 1e-10
    )
    polar = inverse_root @ moved
    triangle = math.sqrt(2) * torch.tensor([[0.5, -0.5, 0.0], [0.0, 0.0, math.sqrt(0.75)]], dtype=torch.float64)
    triangle = triangle @ (torch.eye(3, dtype=torch.float64) - 1 / 3)
    return (triangle @ polar @ (features - middle).T).T


def test_projection_agrees_with_the_printed_formula_on_any_classifier() -> None:
    features, head = normal(20, 7, seed=1), normal(5, 7, seed=2) + 3
    picture = project_to_classifier_plane(features, head, classes=(3, 0, 4))
    torch.testing.assert_close(picture, naive_projection(features, head[[3, 0, 4]]), rtol=0, atol=1e-11)


def test_projection_does_not_notice_a_rotation_or_shift_of_everything() -> None:
    features, head = normal(20, 7, seed=1), normal(5, 7, seed=2)
    rotation = torch.linalg.qr(normal(7, 7, seed=3))[0]
    shift = normal(7, seed=4)
    plain = project_to_classifier_plane(features, head, classes=(0, 1, 2))
    moved = project_to_classifier_plane(features @ rotation + shift, head @ rotation + shift, classes=(0, 1, 2))
    torch.testing.assert_close(moved, plain, rtol=0, atol=1e-11)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_projection_scales_with_everything(factor: float) -> None:
    features, head = normal(20, 7, seed=1), normal(5, 7, seed=2)
    plain = project_to_classifier_plane(features, head, classes=(0, 1, 2))
    scaled = project_to_classifier_plane(features * factor, head * factor, classes=(0, 1, 2))
    torch.testing.assert_close(scaled, plain * factor, rtol=1e-10, atol=0)


def test_projection_drops_what_is_orthogonal_to_the_plane() -> None:
    head = torch.eye(3, 5)
    features = torch.zeros(1, 5)
    features[0, 3:] = 7.0
    centre = project_to_classifier_plane(torch.full((1, 5), 1 / 3), head, classes=(0, 1, 2))
    torch.testing.assert_close(centre, torch.zeros(1, 2, dtype=torch.float64), rtol=0, atol=1e-7)
    picture = project_to_classifier_plane(features, head, classes=(0, 1, 2))
    torch.testing.assert_close(picture, centre, rtol=0, atol=1e-7)


def test_projection_takes_a_parameter_that_needs_gradients() -> None:
    head = torch.nn.Parameter(torch.eye(3))
    assert not project_to_classifier_plane(torch.zeros(2, 3), head, classes=(0, 1, 2)).requires_grad


@pytest.mark.parametrize("rows", [[[0.1, 0.3], [0.2, 0.6], [0.7, 2.1]], [[1.0, 2.0]] * 3, [[1.0], [2.0], [4.0]]])
def test_three_classifiers_on_a_line_have_no_plane(rows: list[list[float]]) -> None:
    head = torch.tensor(rows)
    with pytest.raises(ValueError, match=r"must span a plane at classes \(0, 1, 2\), got three rows on one line"):
        project_to_classifier_plane(head, head, classes=(0, 1, 2))


def test_projection_names_what_does_not_fit() -> None:
    head = torch.eye(4)
    with pytest.raises(ValueError, match=r"classes must be three different indices in \[0, 4\), got \(0, 1, 1\)"):
        project_to_classifier_plane(head, head, classes=(0, 1, 1))
    with pytest.raises(ValueError, match=r"got \(0, 1, 4\)"):
        project_to_classifier_plane(head, head, classes=(0, 1, 4))
    with pytest.raises(ValueError, match="features must have the 4 columns of head_weight, got 3"):
        project_to_classifier_plane(torch.zeros(2, 3), head, classes=(0, 1, 2))
    with pytest.raises(ValueError, match="features must be finite, got 1 NaN"):
        project_to_classifier_plane(torch.tensor([[0.0, 0.0, 0.0, math.nan]]), head, classes=(0, 1, 2))
    with pytest.raises(ValueError, match="features must have 2 dimensions"):
        project_to_classifier_plane(torch.zeros(4), head, classes=(0, 1, 2))
