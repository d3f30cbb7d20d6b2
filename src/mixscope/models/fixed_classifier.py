"""Fixed classifier: a linear head that is a simplex frame, frozen before training."""

import torch
from torch import nn

from mixscope.base.errors import UserError
from mixscope.base.kinds import checked
from mixscope.base.simplex import simplex_etf

ROW_LENGTH = 1.0  # The frame's usual normalisation; nn.Linear starts with rows of about 1 / sqrt(3).


@checked
def fix_classifier(model: nn.Module, head: str, *, generator: torch.Generator) -> None:
    """Set the head's weight to a simplex equiangular tight frame with rows of length 1, its bias to 0, and freeze both.

    Features then have to come to the classifier: with it given, neural collapse of the features is all there is to
    learn. The orientation is uniform. Frozen, it takes no gradient and no weight decay, and it is saved and loaded like
    any other weight.

    Raises:
        UserError: If the head has fewer inputs than outputs less one, or nothing but it could be trained.
    """
    classifier = model.get_submodule(head)
    assert isinstance(classifier, nn.Linear)  # as `find_head` promises
    num_classes, dim = classifier.out_features, classifier.in_features
    if dim < num_classes - 1:
        raise UserError(
            f"classifier fixed-etf needs at least as many features as classes less one, {num_classes - 1}, got {dim}"
        )
    frame = simplex_etf(num_classes, dim, scale=ROW_LENGTH, generator=generator)
    with torch.no_grad():
        classifier.weight.copy_(frame)
        if classifier.bias is not None:
            classifier.bias.zero_()
    classifier.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError("classifier fixed-etf must leave something to train, but the network is its head alone")
