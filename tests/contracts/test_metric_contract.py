"""What the catalogue says a number does not notice, tried on every number of every report."""

import pytest
import torch

from mixscope.metrics.blends.channels import mixed_feature_geometry
from mixscope.metrics.blends.linearity import nonlinearity
from mixscope.metrics.cards import ROTATION, SCALE, SHIFT
from mixscope.metrics.catalogue import CATALOGUE, STUDIES
from mixscope.metrics.class_statistics.statistics import ClassStatistics
from mixscope.metrics.collapse.nearest_mean import NearestMeanCounts
from mixscope.metrics.collapse.neural_collapse import neural_collapse

K, D, N = 4, 7, 60
GENERATOR = torch.Generator().manual_seed(3)


def randn(*shape):
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


CORNERS = randn(K, D)
LABELS = torch.arange(N) % K
FEATURES = CORNERS[LABELS] + 0.5 * randn(N, D)
WEIGHT, BIAS = CORNERS + 0.4 * randn(K, D), 0.2 * randn(K)
PARTNERS = torch.randperm(N, generator=GENERATOR)
SHARES = torch.rand(N, generator=GENERATOR, dtype=torch.float64)
BLENDS = (SHARES[:, None] * FEATURES + (1 - SHARES)[:, None] * FEATURES[PARTNERS]).sinh()

TURN = torch.linalg.qr(randn(D, D)).Q
MOVE = randn(D)
# features -> features, and the classifier (rows, bias) that goes with them
TRANSFORMATIONS = {
    ROTATION: (lambda rows: rows @ TURN, WEIGHT @ TURN, BIAS),
    SHIFT: (lambda rows: rows + MOVE, WEIGHT, BIAS - WEIGHT @ MOVE),
    SCALE: (lambda rows: 3.5 * rows, 0.25 * WEIGHT, 0.25 * 3.5 * BIAS),
}


def measure(features, blends, weight, bias, labels=LABELS, partners=PARTNERS, shares=SHARES):
    """Every catalogued number of features and blends, by its key."""
    statistics = ClassStatistics(K, D)
    statistics.update(features, labels)
    counts = NearestMeanCounts(statistics.means, weight, bias)
    counts.update(features, labels)
    members = torch.stack([features, features[partners]], dim=1)
    pair_labels = torch.stack([labels, labels[partners]], dim=1)
    channels = mixed_feature_geometry(
        blends, members, weights=shares, member_labels=pair_labels, class_means=statistics.means, head_weight=weight
    )
    linearity = nonlinearity(blends, members, torch.stack([shares, 1 - shares], dim=1))
    collapse = neural_collapse(statistics, weight, bias).as_dict()
    collapse |= {"nc4_mismatch": counts.mismatch, "nearest_mean_accuracy": counts.accuracy}
    groups = {"nc": collapse, "channels": channels.as_dict(), "linearity": linearity.as_dict()}
    return {f"{group}/{name}": value for group, report in groups.items() for name, value in report.items()}


PLAIN = measure(FEATURES, BLENDS, WEIGHT, BIAS)
STUDY_KEYS = {card.key for card in STUDIES if not card.key.startswith(("train/", "test/"))}
CARDS = [card for card in CATALOGUE if card.key in PLAIN]


def test_every_number_of_features_is_tried():
    assert {card.key for card in CARDS} == set(PLAIN)
    of_features = {card.key for card in CATALOGUE if card.key.startswith(("nc/", "channels/", "linearity/"))}
    assert of_features - set(PLAIN) == {"channels/theory_residual", *STUDY_KEYS}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_a_number_ignores_what_its_card_says_and_nothing_else(name):
    move, weight, bias = TRANSFORMATIONS[name]
    moved = measure(move(FEATURES), move(BLENDS), weight, bias)
    for card in CARDS:
        # float64 on 60 rows: seen 1e-13, allowed 1e-9
        is_same = moved[card.key] == pytest.approx(PLAIN[card.key], rel=1e-9, abs=1e-12)
        assert is_same == (name in card.ignores), card.key


def test_no_number_depends_on_the_order_of_examples_or_the_names_of_classes():
    names = torch.randperm(K, generator=GENERATOR)
    order = torch.randperm(N, generator=GENERATOR)
    position = torch.empty_like(order)
    position[order] = torch.arange(N)
    weight, bias = torch.empty_like(WEIGHT), torch.empty_like(BIAS)
    weight[names], bias[names] = WEIGHT, BIAS
    moved = measure(
        FEATURES[order],
        BLENDS[order],
        weight,
        bias,
        labels=names[LABELS][order],
        partners=position[PARTNERS[order]],
        shares=SHARES[order],
    )
    assert moved == pytest.approx(PLAIN, rel=1e-9, abs=1e-12)  # float64: seen 1e-14
