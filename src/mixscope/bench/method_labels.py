"""Labels of methods on reports."""

from mixscope.bench.options import ConsistencyOptions, TrainOptions
from mixscope.mixing.schemes import SCHEMES

TEACHERS = {"same": "itself", "same-detached": "stop-gradient", "ema": "EMA teacher"}


def method_label(options: TrainOptions) -> str:
    """Name the method on reports: the scheme and what sets it apart, or the label that was given."""
    if options.label is not None:
        return options.label
    mixing, recipe = options.mixing, options.training
    words = SCHEMES[mixing.mixing].label
    if mixing.num_points > 2:
        words += f" of {mixing.num_points} points"
    if mixing.alpha is not None:
        words += f" α={mixing.alpha:g}"
    if mixing.mixing != "none" and recipe.mixing_off is not None:
        if recipe.mixing_off == "auto":
            words += ", off automatically"
        elif recipe.mixing_off < recipe.epochs:
            words += f", off after {recipe.mixing_off}"
    if options.consistency.consistency_points > 0:
        consistency = _consistency_label(options.consistency)
        words = consistency if mixing.mixing == "none" else f"{words} + {consistency}"
    if recipe.loss == "squared-error":
        words += ", squared error"
    if options.classifier == "fixed-etf":
        words += ", fixed classifier"
    return words


def _consistency_label(options: ConsistencyOptions) -> str:
    """Name unsupervised mixing: "ICT[2]" is Eq. 2 of Chaudhry et al. 2022, and all that departs from it is named."""
    usual = ConsistencyOptions(consistency_points=2)
    words = f"ICT[{options.consistency_points}]"
    for given, default, departure in (
        (options.consistency_alpha, usual.consistency_alpha, f" α={options.consistency_alpha:g}"),
        (options.consistency_teacher, usual.consistency_teacher, f", {TEACHERS[options.consistency_teacher]}"),
        (options.consistency_decay, usual.consistency_decay, f" {options.consistency_decay:g}"),
        (options.consistency_space, usual.consistency_space, f", {options.consistency_space}"),
        (options.consistency_weight, usual.consistency_weight, f", weight {options.consistency_weight:g}"),
        (options.consistency_ramp, usual.consistency_ramp, f", ramp {options.consistency_ramp:g}"),
        (options.consistency_batch, None, f", {options.consistency_batch} unlabelled a step"),
        (options.unlabelled, None, f", {options.unlabelled} unlabelled"),
        (options.unlabelled_disjoint, False, ", disjoint"),
    ):
        if given != default:
            words += departure
    return words
