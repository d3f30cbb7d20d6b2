"""A Lightning callback that measures any LightningModule while it is fitted, and leaves no trace in the training."""

from collections.abc import Iterable, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning_utilities.core.rank_zero import rank_zero_warn

from mixscope.base.checks import check_at_least
from mixscope.base.kinds import checked
from mixscope.capturing.sites import check_sites
from mixscope.integrations.examples import Examples
from mixscope.integrations.lightning.measured_examples import Choice, choose_examples
from mixscope.integrations.lightning.module_examination import Asked, examine_module, try_module
from mixscope.integrations.lightning.trainer_inspection import (
    check_transfer,
    is_watched_in_validation,
    on_first_process,
    set_up_validation,
    show_values,
)
from mixscope.integrations.lightning.validation_weights import KeptWeights, validation_weights
from mixscope.measuring import linear_head


class MixscopeCallback(Callback):
    """Measure collapse, calibration, channels and linearity at the end of training epochs, and log every number.

    Numbers carry the keys of `mixscope.metrics.catalogue`: "nc/...", "train/..." and "channels/..." from training
    examples; "test/...", "nc_test/..." and "linearity/SITE/..." from validation examples, where there are some. They go
    through `pl_module.log`: loggers, `trainer.callback_metrics`, checkpoints and early stopping see them.

    The first epoch is measured, every `every`-th, and the end of the fit, however it ends (an error aside); in the
    epochs between, the last values are logged again, so that what monitors a key never misses it. Whatever cannot be
    measured is told before the first epoch. The weights are those that the epoch's validation used, averaged ones for
    example, whoever put them in for it; without a validation after the last step, those of Lightning's
    `WeightAveraging` or of an optimizer with `eval()` and `train()`. For this a copy of the weights is kept.

    Training goes on bit for bit as without the callback: the examples come from loaders of its own, in this process, in
    a fixed choice; random states, training modes, gradients and buffers are as they were. Samplers are not run, and a
    collate_fn that mixes is left out. The module's `forward` must take the inputs and return the head's logits. Sanity
    checks are not measured. A measurement costs one forward pass over the training and one over the validation
    examples, and two over some of each for the blends.

    Under several processes the first one measures, and the others wait and log the same numbers. Modules whose weights
    are spread over processes (FSDP, DeepSpeed stage 3) are not served.

    Attributes:
        history: One dict for each measured epoch: "epoch", counted from 1, and every number. Part of checkpoints.
        notes: What the user was warned of, once each: augmented examples, say, or a class without any.

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
        head: str | None = None,
        sites: Sequence[str] = (),
        max_examples: int = 5000,
        train_batches: Iterable[Any] | None = None,
        val_batches: Iterable[Any] | None = None,
        seed: int = 0,
    ) -> None:
        """Choose what to measure and how often.

        Args:
            every: Measure after every so many epochs, at least 1; the first and the last are measured in any case.
            head: Name, within the LightningModule, of the linear layer that gives the logits. None: it is found.
            sites: Names of modules whose linearity is measured: "NAME", or "NAME:input" for what goes in.
            max_examples: How many training and how many validation examples are looked at, chosen at random once.
                Where the data set shows its labels (`targets`, `labels`, a TensorDataset), each class has one among
                them. With a class that has none, numbers that need one of each ("nc/...", "channels/...",
                "nc_test/...") are NaN.
            train_batches: Batches of inputs and labels, pairs or mappings, that can be gone through again and again,
                looked at in full, in the place of the Trainer's training examples: for loaders that are not a
                DataLoader, and modules with batch-transfer hooks of their own.
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
        self.notes: list[str] = []
        self._chosen: dict[str, Choice] = {}
        self._found_head = ""
        self._epoch = 1
        self._measured_step: int | None = None  # steps trained at the last measurement, or at the start
        self._is_measuring = False
        self._kept: KeptWeights | None = None
        self._has_shown = False  # values for callbacks that look at them before the first epoch has ended

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise unless `head`, if given, names a linear layer and the sites modules, before the first sanity check."""
        if self.head is not None:
            linear_head(pl_module, self.head)
        check_sites(pl_module, self.sites)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the examples and measure a few of them for nothing, so that what cannot be measured is told now.

        Raises:
            ValueError: If batches hold no inputs and classes, a loader is of a kind that has to be given, `forward`
                does not take the inputs and return the head's logits, or a site cannot be measured.
        """
        set_up_validation(trainer)
        self._chosen = {}

        def look() -> tuple[str, list[str]]:
            asked = try_module(pl_module, self._asked(trainer, pl_module))
            return asked.head, [note for choice in self._chosen.values() for note in choice.notes]

        self._found_head, notes = on_first_process(trainer, look)
        self._note(*notes)
        self._epoch, self._measured_step, self._is_measuring = trainer.current_epoch + 1, trainer.global_step, False
        self._has_shown = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember which epoch it is, for a fit that ends in the midst of it."""
        self._epoch = trainer.current_epoch + 1

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure for those who monitor a number at the end of a validation that comes before the first epoch's."""
        is_in_fit = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if is_in_fit and not self._has_shown and is_watched_in_validation(trainer):
            show_values(trainer, self._examine(trainer, pl_module))
            self._has_shown = True

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the weights of a validation that ends an epoch which is measured."""
        is_in_fit = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and trainer.is_global_zero
        if is_in_fit and batch_idx == dataloader_idx == 0 and self._is_due(trainer):
            self._kept = KeptWeights.of(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure and log, if it is time, or log the last values again.

        Raises:
            ValueError: If features or logits are not finite, or labels do not fit.
        """
        if self._is_due(trainer):
            self._measure(trainer, pl_module)
        values = {key: value for key, value in self.history[-1].items() if key != "epoch"}
        # Every process logs the same number, so their mean is that number.
        pl_module.log_dict(values, batch_size=1, sync_dist=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure a fit that ended between two measurements: by `max_steps`, `max_time`, or stopped early."""
        if trainer.global_step != self._measured_step:
            self._measure_at_end(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Measure a fit of one process that is interrupted from the keyboard, unless it was measuring just then."""
        was_training = self._measured_step is not None and trainer.global_step != self._measured_step
        is_idle = was_training and not self._is_measuring and trainer.world_size == 1
        if isinstance(exception, KeyboardInterrupt) and is_idle:
            try:
                # In the midst of a validation its weights are in already.
                self._measure_at_end(trainer, pl_module, is_validating=trainer.validating)
            except ValueError as error:
                self._note(f"the interrupted epoch is not measured: {error}")

    def state_dict(self) -> dict[str, Any]:
        """Return the history, for a checkpoint."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the history of a checkpoint."""
        self.history = list(state_dict["history"])

    def _is_due(self, trainer: Trainer) -> bool:
        is_first = self._epoch == 1 or not self.history
        return is_first or self._epoch % self.every == 0 or self._epoch == trainer.max_epochs

    def _examine(
        self, trainer: Trainer, pl_module: LightningModule, *, is_validating: bool = False
    ) -> dict[str, float]:
        """Return the numbers of this moment, on every process."""

        def measure() -> tuple[dict[str, float], list[str]]:
            with validation_weights(trainer, pl_module, kept=self._kept, are_in=is_validating):
                return examine_module(pl_module, self._asked(trainer, pl_module))

        self._is_measuring = True
        values, notes = on_first_process(trainer, measure)
        self._is_measuring, self._kept = False, None
        self._note(*notes)
        return values

    def _measure(
        self, trainer: Trainer, pl_module: LightningModule, *, is_validating: bool = False
    ) -> dict[str, float]:
        """Add the numbers of this moment to the history, and return them."""
        values = self._examine(trainer, pl_module, is_validating=is_validating)
        self._measured_step, self._has_shown = trainer.global_step, True
        self.history.append({"epoch": self._epoch, **values})
        return values

    def _measure_at_end(self, trainer: Trainer, pl_module: LightningModule, *, is_validating: bool = False) -> None:
        """Measure, and log past the module, which may log no more."""
        values = self._measure(trainer, pl_module, is_validating=is_validating)
        for logger in trainer.loggers:
            logger.log_metrics(values | {"epoch": self._epoch - 1}, step=trainer.global_step)
        show_values(trainer, values)

    def _asked(self, trainer: Trainer, pl_module: LightningModule) -> Asked:
        """Return what is measured on what."""

        def examples(name: str, given: Iterable[Any] | None, loaders: object, *, has_epochs: bool) -> Examples:
            convert = trainer.precision_plugin.convert_input
            if given is not None:
                return Examples(given, convert=convert, name=name)
            if name not in self._chosen:
                check_transfer(pl_module, name=name)
                self._chosen[name] = choose_examples(
                    loaders, most=self.max_examples, seed=self.seed, name=name, has_epochs=has_epochs
                )
            choice = self._chosen[name]
            return Examples(choice.batches, convert=convert, name=name, limit=choice.limit)

        train = examples("train_batches", self.train_batches, trainer.train_dataloader, has_epochs=False)
        val = None
        if self.val_batches is not None or trainer.val_dataloaders is not None:
            val = examples("val_batches", self.val_batches, trainer.val_dataloaders, has_epochs=True)
        elif self.sites:
            raise ValueError("sites must come with validation examples (val_batches, or the Trainer's), got none")
        return Asked(train, val, head=self.head or self._found_head, sites=self.sites, seed=self.seed)

    def _note(self, *notes: str) -> None:
        """Warn of what was not warned of before, on the first process, and keep it."""
        for note in notes:
            if note not in self.notes:
                self.notes.append(note)
                rank_zero_warn(f"MixscopeCallback: {note}")
