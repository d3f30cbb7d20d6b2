"""Theory of what should be seen in networks trained with mixup: models behind the papers, each solved exactly.

The public names, loaded when they are first used. Every solver returns a `Solution`: the value, how far off it is, and
whether it converged. docs/theory.md shows them at work.
"""

# ruff: noqa: F403

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # each name stands once, in the table below
    from mixscope.mixing.loss_floor import *
    from mixscope.theory.channel.curve_fit import *
    from mixscope.theory.channel.joint_scale import *
    from mixscope.theory.channel.joint_search import *
    from mixscope.theory.channel.mixed_features import *
    from mixscope.theory.channel.shape import *
    from mixscope.theory.channel.soft_labels import *
    from mixscope.theory.labels.blended_regression import *
    from mixscope.theory.labels.gaussian_classes import *
    from mixscope.theory.labels.noisy_labels import *
    from mixscope.theory.peeled.decay import *
    from mixscope.theory.peeled.flow import *
    from mixscope.theory.peeled.loss import *
    from mixscope.theory.peeled.path_record import *
    from mixscope.theory.peeled.point import *
    from mixscope.theory.peeled.rates import *
    from mixscope.theory.peeled.separation import *
    from mixscope.theory.peeled.separation_conditions import *
    from mixscope.theory.peeled.sphere import *
    from mixscope.theory.random_features.feature_experiment import *
    from mixscope.theory.random_features.feature_flow import *
    from mixscope.theory.random_features.teachers import *
    from mixscope.theory.random_features.turning import *
    from mixscope.theory.solution import *
    from mixscope.theory.weight_law import *

_NAMES = {
    "mixing.loss_floor": "loss_floor_gap mixup_loss_floor soft_target_entropy",
    "theory.solution": "NotConvergedWarning Solution",
    "theory.weight_law": "BetaLaw FiniteLaw",
    "theory.channel.curve_fit": "ChannelFit fit_mixup_channel fit_squared_loss_line fit_unmixed_line",
    "theory.channel.joint_scale": "JointScale classifier_scale etf_threshold",
    "theory.channel.joint_search": "JointCheck joint_optimum_check",
    "theory.channel.mixed_features": "MixedFeatures mixup_features same_class_rise squared_loss_features",
    "theory.channel.shape": "amplification channel_angle norm_ratio norm_ratio_limit transverse_density",
    "theory.channel.soft_labels": "SoftLabelLogits logit_gain soft_label_logits",
    "theory.labels.blended_regression": "convex_noise_floor mixup_noise",
    "theory.labels.gaussian_classes": "GaussianClasses class_triangle",
    "theory.labels.noisy_labels": "LabelNoise LabelNoiseCurve coupled_labels gaussian_label_noise independent_labels "
    "label_noise label_noise_curve one_hot_variation",
    "theory.peeled.decay": "RegularizedOptimum regularized_flow regularized_optimum",
    "theory.peeled.flow": "layer_peeled_descent layer_peeled_flow",
    "theory.peeled.loss": "best_normalized_margin log_loss_bound log_peeled_loss normalized_margin peeled_margins",
    "theory.peeled.path_record": "FlowRecord",
    "theory.peeled.point": "PeeledPoint gaussian_start scaled symmetric_start",
    "theory.peeled.rates": "PREDICTED_RATES RateEstimate collapse_rates limiting_rate power_law_rate",
    "theory.peeled.separation": "SeparationOptimum imbalanced_separation_optimum separation_optimum separation_point "
    "square_point",
    "theory.peeled.separation_conditions": "KktReport separation_kkt solve_separation",
    "theory.peeled.sphere": "SphereMinima SphereReport minimize_on_sphere sphere_curvature sphere_report",
    "theory.random_features.feature_experiment": "FeatureExperiment FeatureSetting RiskCurves default_times "
    "random_feature_experiment",
    "theory.random_features.feature_flow": "FeatureFlow SquaredRisk random_feature_flow squared_risk "
    "switched_parameters",
    "theory.random_features.teachers": "Pairs SpanTeacher TanhFeatures all_pairs span_teacher tanh_features "
    "two_layer_teacher",
    "theory.random_features.turning": "RiskBound TurningTimes risk_bound turning_times",
}
_HOME_OF = {name: f"mixscope.{home}" for home, names in _NAMES.items() for name in names.split()}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'mixscope.theory' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
