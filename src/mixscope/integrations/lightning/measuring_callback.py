"""A Lightning callback that measures any LightningModule while it is fitted, and leaves no trace in the training."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from mixscope.base.checks import check_at_least
from mixscope.base.generators import named_generator
from mixscope.base.kinds import checked
from mixscope.capturing.sites import check_sites
from mixscope.integrations.lightning.loader_examples import Examples, check_transfer, choose_examples
from mixscope.measuring import LAYER_MIXING, PAIR_MIXING, BlendLaw, examine, linear_head

NUM_BLENDS = 2000  # blends behind the channel and the linearity numbers: means of some hundred in each group


class MixscopeCallback(Callback):
    """Measure collapse, calibration, channels and linearity at the end of training epochs, and log every number.

    Numbers carry the keys of `mixscope.metrics.catalogue`: "nc/...", "train/..." and "channels/..." from training
    examples; "test/...", "nc_test/..." and "linearity/SITE/..." from validation examples, where there are some. They go
    through `pl_module.log`: loggers, `trainer.callback_metrics`, checkpoints and early stopping see them.

    Training goes on bit for bit as without the callback: the examples come from loaders of its own, in this process, in
    a fixed choice; random states, training modes, gradients and buffers are as they were. The module's `forward` must
    take the inputs and return the head's logits. Sanity checks are not measured. A measurement costs one forward pass
    over the training and one over the validation examples, and two over some of each for the blends.

    Under several processes the first one measures, and the others wait and log the same numbers. Modules whose weights
    are spread over processes (FSDP, DeepSpeed stage 3) are not served.

    Attributes:
        history: One dict for each measured epoch: "epoch", counted from 1, and every number. Part of checkpoints.

    Example:
        >>> callback = MixscopeCallback(every=5, head="model.fc")  # Trainer(callbacks=[callback])
        >>> callback.history
        []
    """

    @checked
    def __init__(
        self,
        *,
        every: int = 1,
        head: str = "head",
        sites: Sequence[str] = (),
        max_examples: int = 5000,
        train_batches: Iterable[tuple[Tensor, Tensor]] | None = None,
        val_batches: Iterable[tuple[Tensor, Tensor]] | None = None,
        seed: int = 0,
    ) -> None:
        """Choose what to measure and how often.

        Args:
            every: Measure after every so many epochs, at least 1, and after the last of `max_epochs`.
            head: Name, within the LightningModule, of the linear layer that gives the logits.
            sites: Names of modules whose linearity is measured: "NAME", or "NAME:input" for what goes in.
            max_examples: How many training and how many validation examples are looked at, chosen at random once.
                Every class needs one among them.
            train_batches: Pairs (inputs, labels) that can be gone through again and again, looked at in full, in the
                place of the Trainer's training examples: for loaders that are not a DataLoader with a standard sampler,
                and modules with batch-transfer hooks of their own.
            val_batches: The same for the validation examples.
            seed: Names the choice of examples and the blends.
        """
        check_at_least(1, every=every, max_examples=max_examples)
        self.every = every
        self.head = head
        self.sites = tuple(sites)
        self.max_examples = max_examples
        self.train_batches = train_batches
        self.val_batches = val_batches
        self.seed = seed
        self.history: list[dict[str, float]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise unless `head` names a linear layer and the sites modules, before an epoch is spent."""
        linear_head(pl_module, self.head)
        check_sites(pl_module, self.sites)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure and log, if it is time.

        Raises:
            ValueError: If `forward` does not return the head's logits, a class has no example among those looked at,
                batches are not pairs, or a loader is of a kind that has to be given.
        """
        epoch = trainer.current_epoch + 1
        if epoch % self.every and epoch != trainer.max_epochs:
            return
        values: dict[str, float] = {}
        cause: ValueError | None = None
        if trainer.is_global_zero:
            try:
                with isolate_rng():
                    values = self._measure(trainer, pl_module)
            except ValueError as error:
                cause = error
        # An error too goes to every process: one that raised alone would leave the others waiting.
        values, problem = trainer.strategy.broadcast((values, "" if cause is None else str(cause)))
        if problem:
            raise ValueError(problem) from cause
        self.history.append({"epoch": epoch, **values})
        # Every process logs the same number, so their mean is that number.
        pl_module.log_dict(values, batch_size=1, sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the history, for a checkpoint."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the history of a checkpoint."""
        self.history = list(state_dict["history"])

    def _measure(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, float]:
        def examples(name: str, given: Iterable[object] | None, loader: object) -> Examples:
            if given is None:
                check_transfer(pl_module, name=name)
                given = choose_examples(loader, max_examples=self.max_examples, seed=self.seed, name=name)
            return Examples(given, convert=trainer.precision_plugin.convert_input, name=name)

        train, val = examples("train_batches", self.train_batches, trainer.train_dataloader), None
        if self.val_batches is not None or trainer.val_dataloaders is not None:
            val = examples("val_batches", self.val_batches, trainer.val_dataloaders)
        elif self.sites:
            raise ValueError("sites must come with validation examples (val_batches, or the Trainer's), got none")
        generator = named_generator(self.seed, "lightning-blends")
        return examine(
            pl_module,
            head=self.head,
            train=train,
            test=val,
            pairs=replace(train, limit=NUM_BLENDS),
            pair_law=BlendLaw(PAIR_MIXING, generator),
            layer_pairs=replace(val, limit=NUM_BLENDS) if val is not None and self.sites else None,
            layer_laws=(BlendLaw(LAYER_MIXING, generator),) if self.sites else (),
            sites=self.sites,
        ).values
