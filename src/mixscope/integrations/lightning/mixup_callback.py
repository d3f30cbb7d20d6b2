"""A Lightning callback that mixes the training batches of any LightningModule."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mixscope.base.batch_pairs import pair_of
from mixscope.base.checks import check_at_least, check_labels
from mixscope.base.generators import named_generator
from mixscope.base.kinds import checked
from mixscope.integrations.blended_batches import blend_in
from mixscope.mixing.mixup import scheme_at
from mixscope.mixing.schemes import MixingScheme


class MixupCallback(Callback):
    """Put blended inputs and soft targets into every training batch before `training_step` sees it.

    A batch may be a list [inputs, labels, ...], a dict or another mapping, or a dataclass, with labels as classes or
    one-hot; inputs and labels are found in it as `MixscopeCallback` finds them, and what else is in it stays.

    `training_step` then gets inputs of the same shape and targets (B, K) float32 whose rows sum to 1: its loss must
    take such targets, as `torch.nn.functional.cross_entropy` and `mixscope.soft_cross_entropy` do. Once mixing is off,
    targets stay (B, K), then with a single 1 in every row. Validation, test and prediction batches are never touched.

    Whatever else a `training_step` computes from its labels must expect blends: accuracy on blends means nothing.

    Every draw is a function of (seed, epoch, batch index, rank): no epoch repeats another, a fit that is resumed goes
    on with the draws of an unbroken one, processes draw apart, and the global random state is never touched. Batches
    are blended on the device they are on, within each process.

    Example:
        >>> from mixscope import Mixup
        >>> callback = MixupCallback(Mixup(alpha=1.0), num_classes=10, mixing_off=150)  # Trainer(callbacks=[callback])
    """

    @checked
    def __init__(self, scheme: MixingScheme, *, num_classes: int, mixing_off: int | None = None, seed: int = 0) -> None:
        """Choose what to mix.

        Args:
            scheme: Mixup or CutMix, for example; it must blend inputs, not hidden layers.
            num_classes: K, at least 2.
            mixing_off: After how many epochs mixing stops: 150 makes the 150th epoch the last one mixed. None: never.
            seed: Names the draws.
        """
        check_at_least(2, num_classes=num_classes)
        if mixing_off is not None:
            check_at_least(0, mixing_off=mixing_off)
        self.scheme = scheme
        self.num_classes = num_classes
        self.mixing_off = mixing_off
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Put the blend into the batch: Lightning hands this very list or dict on to `training_step`.

        Raises:
            ValueError: If the batch is of another form or a tuple, which nothing can be put into, labels are not one
                class in [0, K) per input, or the scheme blends a hidden layer.
        """
        inputs, labels = pair_of(batch)
        if batch_idx == 0:
            # Once an epoch: the answer makes the host wait for the device.
            check_labels(labels, num_classes=self.num_classes)
        epoch = trainer.current_epoch
        scheme = scheme_at(self.scheme, epoch + 1, mixing_off=self.mixing_off)
        generator = named_generator(self.seed, "lightning-mixing", epoch, batch_idx, trainer.global_rank)
        mixture = scheme.draw(inputs, labels, generator=generator)
        blend_in(batch, inputs, labels, mixture, num_classes=self.num_classes)
