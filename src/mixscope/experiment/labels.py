"""What a method is called on reports."""

from mixscope.experiment.options import TrainOptions


def method_label(options: TrainOptions) -> str:
    """Name the method on reports: the scheme and what sets it apart, or the label that was given."""
    if options.label is not None:
        return options.label
    mixing, recipe = options.mixing, options.training
    words = {"none": "ERM", "mixup": "mixup", "cutmix": "CutMix", "manifold-mixup": "manifold mixup"}[mixing.mixing]
    if mixing.num_points > 2:
        words += f" of {mixing.num_points} points"
    if mixing.alpha is not None:
        words += f" α={mixing.alpha:g}"
    if mixing.mixing != "none" and recipe.mixing_off is not None:
        if recipe.mixing_off == "auto":
            words += ", off automatically"
        elif recipe.mixing_off < recipe.epochs:
            words += f", off after {recipe.mixing_off}"
    if recipe.loss == "squared-error":
        words += ", squared error"
    return words
