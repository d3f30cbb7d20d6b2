"""What theory says should be seen in networks trained with mixup: models behind the papers, each solved exactly.

The public names, loaded when they are first used. Every solver returns a `Solution`: the value, how far off it is, and
whether it converged. docs/theory.md shows them at work.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mixscope.mixing.loss_floor import loss_floor_gap, mixup_loss_floor, soft_target_entropy
    from mixscope.theory.channel.curve_families import line_curve, mixup_curve
    from mixscope.theory.channel.curve_fit import ChannelFit, fit_mixup_channel, fit_mixup_shape
    from mixscope.theory.channel.joint_scale import JointScale, classifier_scale, etf_threshold
    from mixscope.theory.channel.joint_search import JointCheck, joint_optimum_check
    from mixscope.theory.channel.lengths import ScaleAndPenalty, fit_scale_and_penalty
    from mixscope.theory.channel.lines import fit_squared_loss_line, fit_unmixed_line
    from mixscope.theory.channel.mixed_features import (
        MixedFeatures,
        mixup_features,
        pair_probabilities,
        same_class_rise,
        squared_loss_features,
    )
    from mixscope.theory.channel.shape import (
        amplification,
        channel_angle,
        norm_ratio,
        norm_ratio_limit,
        small_penalty_limit,
        transverse_density,
        weight_at_offset,
    )
    from mixscope.theory.channel.soft_labels import SoftLabelLogits, logit_gain, soft_label_logits
    from mixscope.theory.labels.blended_regression import convex_noise_floor, mixup_noise
    from mixscope.theory.labels.drawn_labels import coupled_labels, independent_labels
    from mixscope.theory.labels.gaussian_classes import GaussianClasses, class_triangle, round_classes
    from mixscope.theory.labels.noisy_labels import (
        LabelNoise,
        LabelNoiseCurve,
        gaussian_label_noise,
        label_noise,
        label_noise_curve,
        one_hot_variation,
    )
    from mixscope.theory.peeled.decay import RegularizedOptimum, regularized_flow, regularized_optimum
    from mixscope.theory.peeled.descent import layer_peeled_descent
    from mixscope.theory.peeled.flow import layer_peeled_flow
    from mixscope.theory.peeled.loss import (
        best_normalized_margin,
        is_separated,
        log_loss_bound,
        log_peeled_loss,
        normalized_margin,
        peeled_margins,
    )
    from mixscope.theory.peeled.path_record import FlowRecord
    from mixscope.theory.peeled.point import PeeledPoint, gaussian_start, scaled, symmetric_start
    from mixscope.theory.peeled.rates import (
        PREDICTED_RATES,
        RateEstimate,
        collapse_rates,
        limiting_rate,
        power_law_rate,
    )
    from mixscope.theory.peeled.separation import (
        SeparationOptimum,
        imbalanced_separation_optimum,
        separation_optimum,
        separation_point,
        square_point,
    )
    from mixscope.theory.peeled.separation_conditions import KktReport, separation_kkt, solve_separation
    from mixscope.theory.peeled.sphere import (
        SphereMinima,
        SphereReport,
        minimize_on_sphere,
        sphere_curvature,
        sphere_report,
    )
    from mixscope.theory.random_features.feature_experiment import (
        FeatureExperiment,
        FeatureSetting,
        RiskCurves,
        default_times,
        random_feature_experiment,
    )
    from mixscope.theory.random_features.feature_flow import FeatureFlow, random_feature_flow, switched_parameters
    from mixscope.theory.random_features.population_risk import SquaredRisk, squared_risk
    from mixscope.theory.random_features.teachers import (
        Pairs,
        SpanTeacher,
        TanhFeatures,
        all_pairs,
        close_label_pairs,
        span_teacher,
        tanh_features,
        two_layer_teacher,
    )
    from mixscope.theory.random_features.turning import RiskBound, TurningTimes, risk_bound, turning_times
    from mixscope.theory.solution import NotConvergedWarning, Solution
    from mixscope.theory.weight_law import BetaLaw, FiniteLaw, WeightLaw

_HOMES = {
    "mixscope.mixing.loss_floor": ("loss_floor_gap", "mixup_loss_floor", "soft_target_entropy"),
    "mixscope.theory.labels.blended_regression": ("convex_noise_floor", "mixup_noise"),
    "mixscope.theory.channel.curve_families": ("line_curve", "mixup_curve"),
    "mixscope.theory.channel.curve_fit": ("ChannelFit", "fit_mixup_channel", "fit_mixup_shape"),
    "mixscope.theory.channel.lengths": ("ScaleAndPenalty", "fit_scale_and_penalty"),
    "mixscope.theory.channel.lines": ("fit_squared_loss_line", "fit_unmixed_line"),
    "mixscope.theory.channel.shape": (
        "amplification",
        "channel_angle",
        "norm_ratio",
        "norm_ratio_limit",
        "small_penalty_limit",
        "transverse_density",
        "weight_at_offset",
    ),
    "mixscope.theory.labels.drawn_labels": ("coupled_labels", "independent_labels"),
    "mixscope.theory.random_features.feature_experiment": (
        "FeatureExperiment",
        "FeatureSetting",
        "RiskCurves",
        "default_times",
        "random_feature_experiment",
    ),
    "mixscope.theory.random_features.feature_flow": ("FeatureFlow", "random_feature_flow", "switched_parameters"),
    "mixscope.theory.labels.gaussian_classes": ("GaussianClasses", "class_triangle", "round_classes"),
    "mixscope.theory.channel.joint_search": ("JointCheck", "joint_optimum_check"),
    "mixscope.theory.channel.joint_scale": ("JointScale", "classifier_scale", "etf_threshold"),
    "mixscope.theory.labels.noisy_labels": (
        "LabelNoise",
        "LabelNoiseCurve",
        "gaussian_label_noise",
        "label_noise",
        "label_noise_curve",
        "one_hot_variation",
    ),
    "mixscope.theory.peeled.flow": ("layer_peeled_flow",),
    "mixscope.theory.channel.mixed_features": (
        "MixedFeatures",
        "mixup_features",
        "pair_probabilities",
        "same_class_rise",
        "squared_loss_features",
    ),
    "mixscope.theory.peeled.decay": ("RegularizedOptimum", "regularized_flow", "regularized_optimum"),
    "mixscope.theory.peeled.descent": ("layer_peeled_descent",),
    "mixscope.theory.peeled.loss": (
        "best_normalized_margin",
        "is_separated",
        "log_loss_bound",
        "log_peeled_loss",
        "normalized_margin",
        "peeled_margins",
    ),
    "mixscope.theory.peeled.point": ("PeeledPoint", "gaussian_start", "scaled", "symmetric_start"),
    "mixscope.theory.peeled.path_record": ("FlowRecord",),
    "mixscope.theory.peeled.sphere": (
        "SphereMinima",
        "SphereReport",
        "minimize_on_sphere",
        "sphere_curvature",
        "sphere_report",
    ),
    "mixscope.theory.random_features.teachers": (
        "Pairs",
        "SpanTeacher",
        "TanhFeatures",
        "all_pairs",
        "close_label_pairs",
        "span_teacher",
        "tanh_features",
        "two_layer_teacher",
    ),
    "mixscope.theory.peeled.rates": (
        "PREDICTED_RATES",
        "RateEstimate",
        "collapse_rates",
        "limiting_rate",
        "power_law_rate",
    ),
    "mixscope.theory.peeled.separation": (
        "SeparationOptimum",
        "imbalanced_separation_optimum",
        "separation_optimum",
        "separation_point",
        "square_point",
    ),
    "mixscope.theory.peeled.separation_conditions": ("KktReport", "separation_kkt", "solve_separation"),
    "mixscope.theory.channel.soft_labels": ("SoftLabelLogits", "logit_gain", "soft_label_logits"),
    "mixscope.theory.solution": ("NotConvergedWarning", "Solution"),
    "mixscope.theory.random_features.population_risk": ("SquaredRisk", "squared_risk"),
    "mixscope.theory.random_features.turning": ("RiskBound", "TurningTimes", "risk_bound", "turning_times"),
    "mixscope.theory.weight_law": ("BetaLaw", "FiniteLaw", "WeightLaw"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "PREDICTED_RATES",
    "BetaLaw",
    "ChannelFit",
    "FeatureExperiment",
    "FeatureFlow",
    "FeatureSetting",
    "FiniteLaw",
    "FlowRecord",
    "GaussianClasses",
    "JointCheck",
    "JointScale",
    "KktReport",
    "LabelNoise",
    "LabelNoiseCurve",
    "MixedFeatures",
    "NotConvergedWarning",
    "Pairs",
    "PeeledPoint",
    "RateEstimate",
    "RegularizedOptimum",
    "RiskBound",
    "RiskCurves",
    "ScaleAndPenalty",
    "SeparationOptimum",
    "SoftLabelLogits",
    "Solution",
    "SpanTeacher",
    "SphereMinima",
    "SphereReport",
    "SquaredRisk",
    "TanhFeatures",
    "TurningTimes",
    "WeightLaw",
    "all_pairs",
    "amplification",
    "best_normalized_margin",
    "channel_angle",
    "class_triangle",
    "classifier_scale",
    "close_label_pairs",
    "collapse_rates",
    "convex_noise_floor",
    "coupled_labels",
    "default_times",
    "etf_threshold",
    "fit_mixup_channel",
    "fit_mixup_shape",
    "fit_scale_and_penalty",
    "fit_squared_loss_line",
    "fit_unmixed_line",
    "gaussian_label_noise",
    "gaussian_start",
    "imbalanced_separation_optimum",
    "independent_labels",
    "is_separated",
    "joint_optimum_check",
    "label_noise",
    "label_noise_curve",
    "layer_peeled_descent",
    "layer_peeled_flow",
    "limiting_rate",
    "line_curve",
    "log_loss_bound",
    "log_peeled_loss",
    "logit_gain",
    "loss_floor_gap",
    "minimize_on_sphere",
    "mixup_curve",
    "mixup_features",
    "mixup_loss_floor",
    "mixup_noise",
    "norm_ratio",
    "norm_ratio_limit",
    "normalized_margin",
    "one_hot_variation",
    "pair_probabilities",
    "peeled_margins",
    "power_law_rate",
    "random_feature_experiment",
    "random_feature_flow",
    "regularized_flow",
    "regularized_optimum",
    "risk_bound",
    "round_classes",
    "same_class_rise",
    "scaled",
    "separation_kkt",
    "separation_optimum",
    "separation_point",
    "small_penalty_limit",
    "soft_label_logits",
    "soft_target_entropy",
    "solve_separation",
    "span_teacher",
    "sphere_curvature",
    "sphere_report",
    "square_point",
    "squared_loss_features",
    "squared_risk",
    "switched_parameters",
    "symmetric_start",
    "tanh_features",
    "transverse_density",
    "turning_times",
    "two_layer_teacher",
    "weight_at_offset",
]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'mixscope.theory' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
