"""One valid call of every public function, class and method: what the fuzz of wrong arguments starts from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer

import mixscope
from mixscope import metrics, theory
from mixscope.base import simplex
from mixscope.base.generators import seeded_globals
from mixscope.bench.network_report import NetworkReport
from mixscope.capturing.capture import capture_batches
from mixscope.integrations.figure_logging import log_figures, log_report
from mixscope.integrations.lightning.measuring_callback import MixscopeCallback
from mixscope.integrations.lightning.mixup_callback import MixupCallback
from mixscope.integrations.torchmetrics.calibration_metrics import (
    CalibrationError,
    CalibrationSummary,
    SignedCalibrationGap,
)
from mixscope.integrations.torchmetrics.collapse_metrics import NearestClassMean, NeuralCollapse
from mixscope.integrations.transformers.batch_mixing import MixupCollator, MixupTrainerCallback
from mixscope.integrations.transformers.trainer_measuring import MixscopeTrainerCallback
from mixscope.measuring import blended_features, examine, last_layer
from mixscope.metrics import bootstrap, catalogue, paired_comparison
from mixscope.metrics.blends import channels, intrusion
from mixscope.metrics.calibration import (
    calibration_intervals,
    prediction_meter,
    scores,
    temperature,
    temperature_scaling,
    top_label,
)
from mixscope.metrics.collapse import nearest_mean, other_tools
from mixscope.metrics.overtraining import curve_intervals, degenerate, loss_slices, sharpness
from mixscope.mixing import consistency, cutmix, manifold, mixture, mixup

GENERATOR = object()  # stands for a fresh generator
K, D, N = 3, 4, 12
STREAM = torch.Generator().manual_seed(5)


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=STREAM)


LABELS = torch.arange(N) % K
MEANS, WEIGHT, BIAS = randn(K, D), randn(K, D), randn(K)
FEATURES = MEANS[LABELS] + 0.3 * randn(N, D)
LOGITS = FEATURES @ WEIGHT.T + BIAS
PROBABILITIES = LOGITS.softmax(dim=1)
IMAGES = randn(N, 1, 6, 6)
MEMBERS = torch.stack([torch.arange(N), torch.arange(N).flip(0)], dim=1)
SHARES = torch.tensor([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]])[torch.arange(N) % 3]
TARGETS = SHARES[:, :1] * torch.eye(K)[LABELS] + SHARES[:, 1:] * torch.eye(K)[LABELS.flip(0)]
BLENDS = torch.einsum("np,npd->nd", SHARES, FEATURES[MEMBERS])
CURVES = (torch.linspace(-1, 1, 9) ** 2)[None] + 0.01 * randn(5, 9)
WEIGHTS = torch.linspace(0, 1, 11)


@dataclass(frozen=True)
class Call:
    """A function and arguments that it takes; `make` gives a fresh bound method where calls leave traces."""

    make: Callable[[], Callable[..., Any]]
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        function = self.make()
        return f"{function.__module__}.{function.__qualname__}"


def call(function: Callable[..., Any], **arguments: Any) -> Call:
    return Call(lambda: function, arguments)


def fresh(make: Callable[[], Callable[..., Any]], **arguments: Any) -> Call:
    return Call(make, arguments)


def make_model() -> nn.Module:
    with seeded_globals(0, "model"):
        return nn.Sequential(nn.Flatten(), nn.Linear(36, D), nn.ReLU(), nn.Linear(D, K))


def make_statistics() -> metrics.ClassStatistics:
    statistics = metrics.ClassStatistics(K, D)
    statistics.update(FEATURES, LABELS)
    return statistics


MODEL = make_model()
BATCHES = [(IMAGES[:6], LABELS[:6]), (IMAGES[6:], LABELS[6:])]
SOFT_BATCHES = [(IMAGES[:6], TARGETS[:6]), (IMAGES[6:], TARGETS[6:])]
STATISTICS = make_statistics()
MIXTURE = mixscope.Mixture(members=MEMBERS, weights=SHARES)


def square_loss(model: nn.Module) -> float:
    return float(sum(parameter.square().sum() for parameter in model.parameters()))


DIRECTION = {"1.weight": torch.ones(D, 36)}
ROWS = {"logits": LOGITS, "labels": LABELS}
SOFT_ROWS = {"probabilities": PROBABILITIES, "labels": LABELS}


def nearest_counts() -> metrics.NearestMeanCounts:
    return metrics.NearestMeanCounts(MEANS, WEIGHT, BIAS)


def fed(instrument: Any) -> Any:
    instrument.update(PROBABILITIES, LABELS)
    return instrument


def meter() -> metrics.NonlinearityMeter:
    return metrics.NonlinearityMeter(FEATURES.mean(dim=0))


def draw_arguments() -> dict[str, Any]:
    return {"inputs": IMAGES, "labels": LABELS, "generator": GENERATOR}


MIXING = [
    call(mixscope.Mixture, members=MEMBERS, weights=SHARES, target_weights=SHARES, mask=None, site="input"),
    fresh(lambda: MIXTURE.rows, rows=slice(2, 5)),
    fresh(lambda: MIXTURE.to, device="cpu"),
    call(mixture.blend, values=IMAGES, mixture=MIXTURE),
    call(mixture.blend_targets, labels=LABELS, mixture=MIXTURE, num_classes=K),
    call(mixture.soft_cross_entropy, logits=LOGITS, targets=TARGETS),
    call(mixup.Mixup, alpha=0.5, num_points=3, per_example=True),
    fresh(lambda: mixup.Mixup().draw, **draw_arguments()),
    fresh(lambda: mixup.NoMixing().draw, **draw_arguments()),
    call(mixup.LabelMixup, alpha=0.5),
    fresh(lambda: mixup.LabelMixup().draw, **draw_arguments()),
    call(cutmix.CutMix, alpha=0.5),
    fresh(lambda: cutmix.CutMix().draw, **draw_arguments()),
    call(manifold.ManifoldMixup, alpha=0.5, sites=("input", "1")),
    fresh(lambda: manifold.ManifoldMixup(sites=("input", "1")).draw, **draw_arguments()),
    call(mixup.FixedWeights, weights=((0.5, 0.5), (0.75, 0.25))),
    fresh(lambda: mixup.FixedWeights().draw, **draw_arguments()),
    call(mixup.scheme_at, scheme=mixup.Mixup(), epoch=3, mixing_off=5),
    call(manifold.blending_at, model=MODEL, mixture=MIXTURE),
    call(
        consistency.Consistency,
        num_points=2,
        alpha=0.5,
        teacher="ema",
        space="softmax",
        peak_weight=10.0,
        ramp_share=0.5,
        ema_decay=0.9,
    ),
    fresh(lambda: consistency.Consistency().weight_at, step=3, num_steps=10),
    fresh(lambda: consistency.Consistency().draw, num_images=5, generator=GENERATOR),
    fresh(lambda: consistency.Consistency().loss, outputs=LOGITS, member_outputs=LOGITS, mixture=MIXTURE),
]

FLOOR = [
    call(simplex.simplex_etf, num_classes=K, dim=D, scale=2.0, generator=GENERATOR),
    call(simplex.center_rows, matrix=FEATURES),
    call(simplex.project_to_classifier_plane, features=FEATURES, head_weight=WEIGHT, classes=(0, 1, 2)),
    call(mixscope.mixup_loss_floor, alpha=1.0, class_frequencies=[0.5, 0.25, 0.25], num_points=3),
    call(mixscope.soft_target_entropy, targets=TARGETS),
    call(mixscope.loss_floor_gap, logits=LOGITS, targets=TARGETS),
]

SCORES = scores.example_scores(LOGITS, LABELS)
RESAMPLED = {"generator": GENERATOR, "num_resamples": 20, "level": 0.9}
INTERVALS = [
    call(bootstrap.percentile_interval, value=0.5, resampled=WEIGHTS, level=0.9, num_samples=5),
    call(bootstrap.reflected_interval, value=0.5, resampled=WEIGHTS, level=0.9, num_samples=5),
    call(bootstrap.resampled_means, columns=FEATURES, generator=GENERATOR, num_resamples=20),
    call(curve_intervals.end_minus_best, curves=CURVES, window=3, **RESAMPLED),
    call(curve_intervals.turning_epoch, curves=CURVES, epochs=list(range(10, 100, 10)), window=3, **RESAMPLED),
]

CALIBRATION = [
    call(top_label.CalibrationBins, num_bins=5),
    fresh(lambda: top_label.CalibrationBins(5).update, **SOFT_ROWS),
    fresh(lambda: top_label.CalibrationBins(5).update_logits, **ROWS),
    fresh(lambda: top_label.CalibrationBins(5).merge, other=fed(top_label.CalibrationBins(5))),
    call(top_label.CalibrationBins.from_state, state=fed(top_label.CalibrationBins(5)).state()),
    call(top_label.expected_calibration_error, **SOFT_ROWS, num_bins=5),
    call(calibration_intervals.calibration_intervals, **ROWS, num_bins=5, **RESAMPLED),
    call(prediction_meter.PredictionMeter, num_bins=5, keep_logits=True),
    fresh(lambda: prediction_meter.PredictionMeter().update, **ROWS),
    call(prediction_meter.calibration_report, **ROWS, num_bins=5),
    call(temperature.calibration_after_temperature, fit_logits=LOGITS, fit_labels=LABELS, **ROWS, num_bins=5),
    call(scores.ClasswiseCalibration, num_classes=K, num_bins=5),
    fresh(lambda: scores.ClasswiseCalibration(K, 5).update, **SOFT_ROWS),
    fresh(lambda: scores.ClasswiseCalibration(K, 5).update_logits, **ROWS),
    fresh(
        lambda: scores.ClasswiseCalibration(K, 5).merge,
        other=fed(scores.ClasswiseCalibration(K, 5)),
    ),
    call(
        scores.ClasswiseCalibration.from_state,
        state=fed(scores.ClasswiseCalibration(K, 5)).state(),
    ),
    fresh(lambda: fed(scores.ClasswiseCalibration(K, 5)).reliability, label=1),
    call(top_label.equal_mass_reliability, confidence=WEIGHTS, is_correct=WEIGHTS > 0.5, num_bins=5),
    fresh(lambda: scores.ProperScores().update, **SOFT_ROWS),
    fresh(lambda: scores.ProperScores().update_logits, **ROWS),
    fresh(lambda: scores.ProperScores().merge, other=fed(scores.ProperScores())),
    call(scores.ProperScores.from_state, state=fed(scores.ProperScores()).state()),
    call(temperature.fit_temperature, **ROWS, rows=torch.arange(len(LABELS))),
    call(temperature_scaling.scaling_report, **ROWS, generator=GENERATOR, num_bins=5, num_resamples=20),
    call(
        paired_comparison.compare_predictions,
        first_logits=LOGITS,
        second_logits=LOGITS,
        labels=LABELS,
        num_bins=5,
        **RESAMPLED,
    ),
    call(paired_comparison.paired_intervals, first=SCORES, second=SCORES, num_bins=5, **RESAMPLED),
    call(paired_comparison.mcnemar, first_right=LABELS > 0, second_right=LABELS > 1),
]

HEAD = {"statistics": STATISTICS, "head_weight": WEIGHT, "head_bias": BIAS, "center": MEANS[0]}
COLLAPSE = [
    *(
        call(statistics, num_classes=K, dim=D, device="cpu", product_dtype=torch.float64)
        for statistics in (metrics.ClassStatistics, metrics.ClassMoments)
    ),
    fresh(lambda: make_statistics().update, features=FEATURES, labels=LABELS),
    fresh(lambda: make_statistics().merge, other=STATISTICS),
    call(metrics.ClassStatistics.from_state, state=STATISTICS.state(), device="cpu", product_dtype=torch.float64),
    call(metrics.neural_collapse, **HEAD),
    call(metrics.collapse_on_test, train=STATISTICS, test=STATISTICS),
    call(metrics.class_geometry, statistics=STATISTICS, center=MEANS[0]),
    call(nearest_mean.NearestMeanCounts, class_means=MEANS, head_weight=WEIGHT, head_bias=BIAS),
    fresh(lambda: nearest_counts().update, features=FEATURES, labels=LABELS),
    fresh(lambda: nearest_counts().decide, features=FEATURES),
    call(other_tools.as_papyan2020, statistics=STATISTICS, head_weight=WEIGHT),
    call(other_tools.as_zhu2021, statistics=STATISTICS, head_weight=WEIGHT),
    call(other_tools.as_tirer, statistics=STATISTICS),
    call(other_tools.as_rangamani, statistics=STATISTICS),
    call(other_tools.as_galanti2021, statistics=STATISTICS),
]

GAPS = {"train/loss_floor_gap": 0.1, "train/blend_entropy": 0.2}
BLEND_ROWS = {"members": MEMBERS, "weights": SHARES}
OVERTRAINING = [
    call(
        channels.mixed_feature_geometry,
        mixed=BLENDS,
        members=FEATURES[MEMBERS],
        weights=SHARES[:, 0],
        member_labels=LABELS[MEMBERS],
        class_means=MEANS,
        head_weight=WEIGHT,
    ),
    call(channels.classifier_coordinates, features=FEATURES, head_weight=WEIGHT, labels_pair=LABELS[MEMBERS]),
    call(metrics.nonlinearity, mixed=BLENDS, members=FEATURES[MEMBERS], weights=SHARES),
    call(metrics.NonlinearityMeter, feature_mean=FEATURES.mean(dim=0)),
    fresh(lambda: meter().update, mixed=BLENDS, clean=FEATURES, **BLEND_ROWS),
    fresh(lambda: meter().merge, other=meter()),
    call(
        intrusion.intrusion_rate,
        mixed=BLENDS,
        member_labels=LABELS[MEMBERS],
        weights=SHARES,
        real_inputs=FEATURES,
        real_labels=LABELS,
        members=MEMBERS,
        edges=[0.5, 0.75, 1.0],
    ),
    call(intrusion.nearest_examples, queries=BLENDS, examples=FEATURES, excluded=MEMBERS),
    call(sharpness.gradient_norm, model=MODEL, batches=SOFT_BATCHES, loss=mixture.soft_cross_entropy),
    call(loss_slices.filter_normalised_direction, model=MODEL, generator=GENERATOR, include_vectors=True),
    call(
        loss_slices.loss_slice,
        model=MODEL,
        evaluate=square_loss,
        direction=DIRECTION,
        steps=[-0.5, 0.5],
        statistics_batches=[IMAGES],
    ),
    call(
        metrics.sharpness,
        model=MODEL,
        evaluate=square_loss,
        generator=GENERATOR,
        radius=0.1,
        num_directions=2,
        include_vectors=False,
        statistics_batches=None,
    ),
    call(metrics.FloorGapRule, share=0.4, window=0.3, level=0.9),
    fresh(
        lambda: metrics.FloorGapRule().judge,
        epochs=list(range(9)),
        values={name: [value] * 8 + [2 * value] for name, value in GAPS.items()},
    ),
    call(metrics.ValidationRule, value="validation/loss", window=0.3, patience=0.5, level=0.9),
    fresh(
        lambda: metrics.ValidationRule().judge,
        epochs=list(range(9)),
        values={"validation/loss": [1.0, 0.8, 0.7, 0.5, 0.6, 0.8, 0.9, 1.0, 1.1]},
    ),
    call(metrics.OvertrainingMonitor, rule=metrics.ValidationRule()),
    fresh(lambda: metrics.OvertrainingMonitor().update, epoch=3, values=GAPS),
    fresh(lambda: metrics.OvertrainingMonitor().load_state, state=metrics.OvertrainingMonitor().state()),
    call(degenerate.output_spread, logits=LOGITS),
    call(degenerate.chance_accuracy, num_examples=100, largest_share=0.1),
    call(degenerate.is_constant_classifier, accuracy=0.1, num_examples=100, largest_share=0.1, spread=0.01),
    call(catalogue.find_metric, key="nc/nc1_pinv"),
]

SITES = {"sites": ("1",), "average_pooled": ()}
LAW = blended_features.BlendLaw(mixup.Mixup(), torch.Generator())
MEASURING = [
    call(mixscope.capture, model=MODEL, batches=BATCHES, **SITES, mixing=mixup.Mixup(), generator=GENERATOR),
    call(mixscope.measure, model=MODEL, train=BATCHES, test=BATCHES, head="3", sites=("1",), seed=1, name="mine"),
    fresh(lambda: NetworkReport({"nc/nc1_trace": 0.5}, {}).write_page, path=Path("page.html")),
    call(capture_batches, model=MODEL, batches=BATCHES, **SITES, mixing=mixup.Mixup(), generator=GENERATOR),
    call(blended_features.BlendLaw, mixing=mixup.Mixup(), generator=GENERATOR),
    call(last_layer.measure_last_layer, model=MODEL, batches=BATCHES, head="3", class_means=MEANS, keep_logits=True),
    call(
        blended_features.measure_linearity,
        model=MODEL,
        batches=BATCHES,
        **SITES,
        laws=[LAW],
        feature_means={"1": torch.zeros(D)},
    ),
    call(blended_features.capture_blends, model=MODEL, batches=BATCHES, site="1", law=LAW, features=None),
    call(
        examine,
        model=MODEL,
        head="3",
        train=BATCHES,
        test=BATCHES,
        pairs=BATCHES,
        pair_law=LAW,
        pair_rows=None,
        layer_pairs=BATCHES,
        layer_laws=[LAW],
        **SITES,
        class_means=MEANS,
    ),
    call(last_layer.linear_head, model=MODEL, head="3"),
    call(last_layer.weight_and_bias, linear=MODEL[3]),
]

with seeded_globals(0, "head"):
    LINEAR = nn.Linear(D, K)
HEADS = {"features": FEATURES, "labels": LABELS}
INTEGRATIONS = [
    *(call(metric, num_bins=5) for metric in (CalibrationError, CalibrationSummary, SignedCalibrationGap)),
    fresh(lambda: CalibrationError(5).update, **SOFT_ROWS),
    call(NeuralCollapse, head=LINEAR),
    fresh(lambda: NeuralCollapse(LINEAR).update, **HEADS),
    call(NearestClassMean, head=LINEAR),
    fresh(lambda: NearestClassMean(LINEAR).update, **HEADS, class_means=MEANS),
    call(
        MixscopeCallback,
        every=2,
        head="head",
        sites=("body",),
        max_examples=100,
        train_batches=BATCHES,
        val_batches=BATCHES,
        seed=1,
    ),
    call(MixupCallback, scheme=mixup.Mixup(), num_classes=K, mixing_off=5, seed=1),
    call(
        MixscopeTrainerCallback,
        trainer=Trainer.__new__(Trainer),  # only kept until training begins
        every=2,
        head="head",
        sites=("body",),
        max_examples=100,
        train_batches=BATCHES,
        eval_batches=BATCHES,
        seed=1,
    ),
    call(log_report, report=NetworkReport({}, {}), logger=[], step=1),
    call(log_figures, loggers=[], pictures={}, step=1, step_key="step"),
    call(MixupTrainerCallback, scheme=mixup.Mixup(), num_classes=K, mixing_off=5, seed=1),
    call(MixupCollator, scheme=mixup.Mixup(), num_classes=K, collate=list, mixing_off=5, seed=1, rank=1),
    fresh(lambda: MixupCollator(mixup.Mixup(), num_classes=K).set_epoch, epoch=3, first_batch=2),
]

POINT = theory.gaussian_start([2, 2, 2], dim=D, generator=torch.Generator().manual_seed(0))
CLASSES = theory.class_triangle(2.0)
CHANNEL = {"num_classes": 5, "feature_penalty": 1e-3, "scale": 1.0}
CURVE = theory.mixup_features(5, WEIGHTS, feature_penalty=1e-3, scale=1.0).value
CURVE_POINTS = {"x1": CURVE.x1, "x2": CURVE.x2, "weights": WEIGHTS, "num_classes": 5}
FIT = theory.fit_mixup_channel(**CURVE_POINTS).value
PHI = randn(N, D)
Y = randn(N)
FLOW = theory.random_feature_flow(PHI, Y, learning_rate=0.1).value
NOISE = theory.label_noise(PROBABILITIES, PROBABILITIES, PROBABILITIES, mixing_weight=0.5)
TANH = theory.tanh_features(D, 5, generator=torch.Generator().manual_seed(0))
RECORD = theory.layer_peeled_flow(POINT, log_times=torch.linspace(3, 40, 12)).value
LAW = theory.FiniteLaw((0.5, 1.0), (0.5, 0.5))
COUNTS = {"class_counts": [2, 2, 2], "dim": D}
EQUAL = {"num_classes": K, "num_per_class": 2}
POSITIONS = torch.linspace(1, 20, 20)
ENDS = {"inputs": PHI, "partners": PHI.flip(0), "mixing_weight": 0.25}
PENALTIES = {"classifier_penalty": 0.05, "feature_penalty": 0.05}

CHANNELS_IN_THEORY = [
    call(theory.amplification, **CHANNEL),
    call(theory.norm_ratio, **CHANNEL),
    call(theory.norm_ratio_limit, num_classes=5),
    call(theory.channel_angle, x1=WEIGHTS, x2=1 - WEIGHTS, num_classes=5),
    call(theory.transverse_density, **CHANNEL, offset=0.5, alpha=1.0),
    call(theory.mixup_features, **CHANNEL, mixing_weight=WEIGHTS),
    fresh(lambda: CURVE.features, first_rows=randn(11, D), second_rows=randn(11, D)),
    call(theory.squared_loss_features, **CHANNEL, mixing_weight=WEIGHTS),
    call(theory.same_class_rise, num_classes=5, gain=10.0),
    call(theory.logit_gain, **CHANNEL),
    call(
        theory.soft_label_logits,
        label_values=torch.tensor([[0.5, 0.3, 0.2]]),
        num_classes=5,
        gain=10.0,
    ),
    call(theory.fit_mixup_channel, **CURVE_POINTS),
    call(theory.fit_unmixed_line, **CURVE_POINTS),
    call(theory.fit_squared_loss_line, **CURVE_POINTS),
    fresh(lambda: FIT.feature_penalty, scale=1.0),
    call(theory.etf_threshold, num_classes=5, law=LAW),
    call(theory.classifier_scale, num_classes=5, **PENALTIES, law=LAW),
    call(theory.joint_optimum_check, num_classes=K, dim=2, **PENALTIES, law=LAW, num_starts=1, generator=GENERATOR),
    call(theory.BetaLaw, alpha=1.0),
    fresh(lambda: theory.BetaLaw(1.0).nodes, gain=10.0, num_classes=5),
    call(theory.FiniteLaw, weights=(0.5, 1.0), probabilities=(0.5, 0.5)),
    fresh(lambda: LAW.nodes, gain=10.0, num_classes=5),
]

NOISE_IN_THEORY = [
    call(theory.mixup_noise, teacher=lambda x: x.square().sum(dim=1), **ENDS),
    call(theory.convex_noise_floor, **ENDS, convexity=2.0),
    call(theory.independent_labels, noise=NOISE, generator=GENERATOR),
    call(theory.coupled_labels, noise=NOISE, generator=GENERATOR),
    call(
        theory.label_noise,
        posteriors=PROBABILITIES,
        partner_posteriors=PROBABILITIES.flip(0),
        blend_posteriors=PROBABILITIES,
        mixing_weight=0.25,
    ),
    call(
        theory.gaussian_label_noise,
        classes=CLASSES,
        inputs=PHI[:, :2],
        partners=PHI[:, 2:],
        mixing_weight=torch.full((N,), 0.25),
    ),
    call(theory.label_noise_curve, classes=CLASSES, mixing_weights=WEIGHTS, num_pairs=20, generator=GENERATOR),
    call(theory.one_hot_variation, first=LABELS, second=LABELS.flip(0), true=LABELS, mixing_weight=0.25),
    call(theory.GaussianClasses, means=CLASSES.means, spread=1.0),
    fresh(lambda: CLASSES.posterior, inputs=PHI[:, :2]),
    fresh(lambda: CLASSES.sample, num_examples=20, generator=GENERATOR),
    call(theory.class_triangle, radius=2.0, spread=1.0),
]

FEATURE_FLOWS = [
    call(theory.random_feature_flow, features=PHI, targets=Y, learning_rate=0.5, start=torch.zeros(D)),
    fresh(lambda: FLOW.with_targets, targets=Y),
    fresh(lambda: FLOW.at, times=WEIGHTS),
    fresh(lambda: FLOW.progress, times=WEIGHTS),
    fresh(lambda: FLOW.after, steps=torch.arange(4)),
    call(theory.switched_parameters, before=FLOW, after=FLOW, switch_times=WEIGHTS),
    call(theory.turning_times, flow=FLOW, clean_targets=Y),
    call(
        theory.risk_bound,
        flow=FLOW,
        clean_targets=Y,
        times=WEIGHTS,
        feature_bound=1.0,
        clean_risk=0.1,
    ),
    call(theory.squared_risk, features=PHI, targets=Y),
    fresh(lambda: theory.squared_risk(PHI, Y).of, parameters=randn(2, D)),
    call(theory.tanh_features, input_dim=D, num_features=5, gain=2.0, generator=GENERATOR),
    fresh(lambda: TANH.__call__, inputs=PHI),
    call(theory.span_teacher, features=TANH, generator=GENERATOR),
    call(theory.two_layer_teacher, features=TANH, generator=GENERATOR),
    fresh(lambda: theory.SpanTeacher(TANH, randn(5).double()).__call__, inputs=PHI),
    fresh(lambda: theory.all_pairs(torch.full((N**2,), 0.5)).blend, values=PHI),
    call(theory.all_pairs, weights=torch.full((16,), 0.5)),
    call(
        theory.FeatureSetting,
        num_examples=4,
        input_dim=3,
        num_features=5,
        gain=2.0,
        alpha=0.5,
        num_test=10,
    ),
    call(
        theory.random_feature_experiment,
        setting=theory.FeatureSetting(num_examples=4, input_dim=3, num_features=5, num_test=10),
        draw_teacher=theory.span_teacher,
        num_repetitions=1,
        times=torch.tensor([0.0, 1.0, 2.0]),
        generator=GENERATOR,
    ),
]

PEELED = [
    call(theory.PeeledPoint, head_weight=POINT.head_weight, features=POINT.features, labels=POINT.labels),
    call(theory.scaled, point=POINT, squared_norm=10.0),
    call(theory.gaussian_start, **COUNTS, scale=1.0, generator=GENERATOR),
    call(theory.symmetric_start, **EQUAL, dim=D, scale=1.0, generator=GENERATOR),
    call(theory.layer_peeled_flow, start=POINT, log_times=torch.tensor([1.0, 2.0]), max_steps=1000),
    call(theory.layer_peeled_descent, start=POINT, learning_rate=0.1, record_steps=[2, 5]),
    call(
        theory.regularized_flow,
        start=POINT,
        times=torch.tensor([1.0, 2.0]),
        weight_decay=0.1,
        feature_decay=0.1,
        max_steps=1000,
    ),
    call(theory.regularized_optimum, **EQUAL, weight_decay=0.1, feature_decay=0.1),
    call(theory.log_peeled_loss, point=POINT),
    call(theory.peeled_margins, point=POINT),
    call(theory.normalized_margin, point=POINT),
    call(theory.best_normalized_margin, **EQUAL),
    call(theory.log_loss_bound, squared_norm=10.0, **EQUAL),
    call(theory.sphere_report, point=POINT),
    call(
        theory.sphere_curvature,
        point=POINT,
        weight_direction=POINT.head_weight,
        feature_direction=POINT.features.flip(0),
    ),
    call(theory.minimize_on_sphere, **COUNTS, squared_norm=10.0, num_starts=1, generator=GENERATOR),
    call(theory.separation_optimum, **EQUAL),
    call(theory.imbalanced_separation_optimum, class_counts=[2, 3, 4]),
    call(theory.separation_point, **COUNTS, generator=GENERATOR),
    call(theory.square_point, num_per_class=2, dim=D),
    call(theory.separation_kkt, point=theory.square_point(2, dim=D)),
    call(theory.solve_separation, **COUNTS, num_starts=1, generator=GENERATOR),
    call(theory.power_law_rate, positions=POSITIONS, values=1 / POSITIONS),
    call(theory.limiting_rate, positions=POSITIONS, values=1 / (1 + POSITIONS), correction=0.5),
    call(theory.collapse_rates, record=RECORD, first_log_time=5.0),
]

CALLS = [
    *MIXING,
    *FLOOR,
    *INTERVALS,
    *CALIBRATION,
    *COLLAPSE,
    *OVERTRAINING,
    *MEASURING,
    *INTEGRATIONS,
    *CHANNELS_IN_THEORY,
    *NOISE_IN_THEORY,
    *FEATURE_FLOWS,
    *PEELED,
]
