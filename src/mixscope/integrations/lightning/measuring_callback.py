"""A Lightning callback that measures any LightningModule while it is fitted, and leaves no trace in the training."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.seed import isolate_rng
from lightning_utilities.core.rank_zero import rank_zero_warn

from mixscope.base.checks import check_at_least
from mixscope.base.kinds import checked
from mixscope.capturing.sites import check_sites
from mixscope.integrations.lightning.measured_examples import Choice, Examples, choose_examples
from mixscope.integrations.lightning.module_examination import Asked, examine_module, try_module
from mixscope.integrations.lightning.validation_weights import validation_weights
from mixscope.measuring import linear_head

TRANSFER_HOOKS = ("on_before_batch_transfer", "on_after_batch_transfer", "transfer_batch_to_device")
Answer = TypeVar("Answer")


class MixscopeCallback(Callback):
    """Measure collapse, calibration, channels and linearity at the end of training epochs, and log every number.

    Numbers carry the keys of `mixscope.metrics.catalogue`: "nc/...", "train/..." and "channels/..." from training
    examples; "test/...", "nc_test/..." and "linearity/SITE/..." from validation examples, where there are some. They go
    through `pl_module.log`: loggers, `trainer.callback_metrics`, checkpoints and early stopping see them.

    The first epoch is measured, every `every`-th, and the end of the fit, however it ends (an error aside); in the
    epochs between, the last values are logged again, so that what monitors a key never misses it. Whatever cannot be
    measured is told before the first epoch. The weights are those that validation uses: averaged ones where Lightning's
    `WeightAveraging` swaps them in, or an optimizer with `eval()` and `train()` has them.

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
        head: str = "head",
        sites: Sequence[str] = (),
        max_examples: int = 5000,
        train_batches: Iterable[Any] | None = None,
        val_batches: Iterable[Any] | None = None,
        seed: int = 0,
    ) -> None:
        """Choose what to measure and how often.

        Args:
            every: Measure after every so many epochs, at least 1; the first and the last are measured in any case.
            head: Name, within the LightningModule, of the linear layer that gives the logits.
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
        self._epoch = 1
        self._measured_step: int | None = None  # steps trained at the last measurement, or at the start
        self._is_measuring = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Raise unless `head` names a linear layer and the sites modules, before the first sanity check."""
        linear_head(pl_module, self.head)
        check_sites(pl_module, self.sites)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the examples and measure a few of them for nothing, so that what cannot be measured is told now.

        Raises:
            ValueError: If batches hold no inputs and classes, a loader is of a kind that has to be given, `forward`
                does not take the inputs and return the head's logits, or a site cannot be measured.
        """
        _set_up_validation(trainer)
        self._chosen = {}

        def look() -> list[str]:
            asked = self._asked(trainer, pl_module)
            try_module(pl_module, asked)
            return [note for choice in self._chosen.values() for note in choice.notes]

        self._note(*self._on_first_process(trainer, look))
        self._epoch, self._measured_step, self._is_measuring = trainer.current_epoch + 1, trainer.global_step, False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember which epoch it is, for a fit that ends in the midst of it."""
        self._epoch = trainer.current_epoch + 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure and log, if it is time, or log the last values again.

        Raises:
            ValueError: If features or logits are not finite, or labels do not fit.
        """
        is_first = self._epoch == 1 or not self.history
        if is_first or self._epoch % self.every == 0 or self._epoch == trainer.max_epochs:
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
                self._measure_at_end(trainer, pl_module)
            except ValueError as error:
                self._note(f"the interrupted epoch is not measured: {error}")

    def state_dict(self) -> dict[str, Any]:
        """Return the history, for a checkpoint."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the history of a checkpoint."""
        self.history = list(state_dict["history"])

    def _measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the numbers of this moment to the history of every process."""

        def measure() -> tuple[dict[str, float], list[str]]:
            with validation_weights(trainer, pl_module):
                return examine_module(pl_module, self._asked(trainer, pl_module))

        self._is_measuring = True
        values, notes = self._on_first_process(trainer, measure)
        self._is_measuring = False
        self._note(*notes)
        self._measured_step = trainer.global_step
        self.history.append({"epoch": self._epoch, **values})

    def _measure_at_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, and log past the module, which may log no more."""
        self._measure(trainer, pl_module)
        values = {key: value for key, value in self.history[-1].items() if key != "epoch"}
        for logger in trainer.loggers:
            logger.log_metrics(values | {"epoch": self._epoch - 1}, step=trainer.global_step)
        trainer.callback_metrics.update({key: torch.tensor(value) for key, value in values.items()})

    def _asked(self, trainer: Trainer, pl_module: LightningModule) -> Asked:
        """Return what is measured on what."""

        def examples(name: str, given: Iterable[Any] | None, loaders: object, *, has_epochs: bool) -> Examples:
            convert = trainer.precision_plugin.convert_input
            if given is not None:
                return Examples(given, convert=convert, name=name)
            if name not in self._chosen:
                _check_transfer(pl_module, name=name)
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
        return Asked(train, val, head=self.head, sites=self.sites, seed=self.seed)

    def _note(self, *notes: str) -> None:
        """Warn of what was not warned of before, on the first process, and keep it."""
        for note in notes:
            if note not in self.notes:
                self.notes.append(note)
                rank_zero_warn(f"MixscopeCallback: {note}")

    def _on_first_process(self, trainer: Trainer, compute: Callable[[], Answer]) -> Answer:
        """Return what the first process computes, on every process, and leave no trace in the random states.

        An error too goes to every process: one that raised alone would leave the others waiting.
        """
        answer: Answer | None = None
        cause: Exception | None = None
        if trainer.is_global_zero:
            try:
                with isolate_rng():
                    answer = compute()
            except ValueError as error:
                cause = error
        answer, problem = trainer.strategy.broadcast((answer, "" if cause is None else str(cause)))
        if problem:
            raise ValueError(problem) from cause
        return answer  # type: ignore[return-value]  # None only where there was a problem


def _set_up_validation(trainer: Trainer) -> None:
    """Have Lightning make its validation loaders now, also where the first validation is some epochs away."""
    if trainer.enable_validation and trainer.val_dataloaders is None:
        trainer.validating = True
        trainer.fit_loop.epoch_loop.val_loop.setup_data()
        trainer.training = True


def _check_transfer(pl_module: LightningModule, *, name: str) -> None:
    """Raise if batches are changed on their way to the module, as then a data loader does not show what it is fed."""
    datamodule = pl_module.trainer.datamodule  # type: ignore[attr-defined]  # set by one of the Trainer's parts
    for owner in (pl_module, datamodule):
        for hook in TRANSFER_HOOKS:
            if owner is not None and is_overridden(hook, owner):
                raise ValueError(f"{name} must be given where {type(owner).__name__} defines {hook}, got None")
