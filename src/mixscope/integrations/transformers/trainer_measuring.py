"""A Trainer's callback that measures the model while it is trained, and leaves no trace in the training."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

from accelerate.utils import broadcast_object_list
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from mixscope.base.checks import check_at_least, naming
from mixscope.base.kinds import checked
from mixscope.integrations.examples import Examples
from mixscope.integrations.figure_logging import log_figures
from mixscope.integrations.random_states import kept_random_states
from mixscope.integrations.transformers.trainer_examination import TrainerExamples, examine_asked, try_examples
from mixscope.integrations.transformers.trainer_state import (
    evaluation_weights,
    figure_targets,
    given_or_chosen,
    head_of,
)
from mixscope.measuring.pictures import examination_pictures

logger = logging.get_logger(__name__)
MOST_NAMED = 5  # classes without an example, in a warning
PREFIX = "eval_"  # of a Trainer's evaluation metrics


class MixscopeTrainerCallback(TrainerCallback):
    """Measure collapse, calibration, channels and linearity at evaluations, and log every number through the Trainer.

    `trainer.add_callback(MixscopeTrainerCallback(trainer))`: a callback reaches a Trainer's logging and its data only
    if it knows the Trainer. It measures at the first evaluation, at every `every`-th one and at the last; where the
    Trainer does not evaluate, after every `every`-th epoch and at the end, however training ends short of an exception.

    Numbers carry the keys of `mixscope.metrics.catalogue` with "eval_" before them, as a Trainer's evaluation metrics
    have: "eval_test/ece" is of the evaluation examples, "eval_nc/nc1_pinv" of the training examples. They go into the
    metrics of the evaluation, where `metric_for_best_model="test/ece"` and early stopping see them (in evaluations in
    between, the last ones again), and by `trainer.log` into `log_history` and to every reporter; TensorBoard and
    Weights & Biases get the reliability diagram too, and the plane where blends of three classes are many enough.

    Training goes on bit for bit as without the callback: the examples come from loaders of its own, in this process, in
    a fixed choice; random states, training modes, gradients, buffers and the optimizer's mode are as they were. Weights
    are those an evaluation uses, also with schedule-free optimizers. A few examples are measured before training
    begins, so that what cannot be measured is told then.

    Under several processes the first one measures, and the others wait. Models whose weights are spread over processes
    (FSDP, DeepSpeed) are not served.

    Attributes:
        history: One dict for each measurement: "epoch", as a Trainer counts, "step", and every number by its key in
            the catalogue. A training that is resumed goes on with what the checkpoint's log has.

    Example:
        >>> trainer.add_callback(MixscopeTrainerCallback(trainer, head="classifier"))  # doctest: +SKIP
    """

    @checked
    def __init__(
        self,
        trainer: Trainer,
        *,
        every: int = 1,
        head: str | None = None,
        sites: Sequence[str] = (),
        max_examples: int = 5000,
        train_batches: Iterable[Any] | None = None,
        eval_batches: Iterable[Any] | None = None,
        seed: int = 0,
    ) -> None:
        """Choose what to measure and how often.

        Args:
            trainer: The one this callback is added to.
            every: Measure at every so many evaluations or epochs, at least 1.
            head: Name, within the model, of the linear layer that gives the logits. None: the only one with as many
                outputs as the model has classes.
            sites: Names of modules whose linearity is measured: "NAME", or "NAME:input" for what goes in.
            max_examples: How many training and how many evaluation examples are looked at, chosen at random once.
                Numbers that need an example of every class are NaN where one has none among them, and that is said.
            train_batches: Batches that can be gone through again and again, looked at in full, in the place of the
                Trainer's training examples: for iterable data sets, and data that are mixed before they are collated.
            eval_batches: The same for the evaluation examples; needed where there are several evaluation sets.
            seed: Names the choice of examples and the blends.
        """
        check_at_least(1, every=every, max_examples=max_examples)
        self.trainer = trainer
        self.every = every
        self.head = head
        self.sites = tuple(sites)
        self.max_examples = max_examples
        self.train_batches = train_batches
        self.eval_batches = eval_batches
        self.seed = seed
        self.history: list[dict[str, float]] = []
        self._train = Examples(())
        self._test: Examples | None = None
        self._num_evaluations = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Measure a few examples, before an epoch is spent.

        Raises:
            ValueError: If the head is not found or does not give the logits, a site does not exist, batches have no
                inputs or no classes, or data are of a kind that has to be given.
        """
        self._come_first()
        logged = [entry for entry in state.log_history if f"{PREFIX}train/loss_clean" in entry]
        self.history = [{key.removeprefix(PREFIX): value for key, value in entry.items()} for entry in logged]
        self._num_evaluations = 0
        if self.trainer.is_fsdp_enabled or self.trainer.is_deepspeed_enabled:
            raise ValueError("the Trainer must keep whole weights in every process, got FSDP or DeepSpeed")
        with kept_random_states():
            self._find_examples(others["train_dataloader"])
            try_examples(others["model"], self._asked(others["model"]))

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any) -> None:
        """Measure if it is time, and add the numbers to the evaluation's."""
        if not self.trainer.is_in_train:
            return
        if not self._is_measured(state):
            self._num_evaluations += 1
            is_due = self._num_evaluations % self.every == 0 or self._num_evaluations == 1
            if is_due or control.should_training_stop:
                self._measure(state, control)
        if self.history:
            others["metrics"].update(_for_trainer(self.history[-1]))

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Measure if it is time and no evaluation follows."""
        if control.should_evaluate or self._is_measured(state):
            return
        is_due = args.eval_strategy == "no" and round(state.epoch) % self.every == 0
        if is_due or control.should_training_stop:
            self._measure(state, control)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Measure what training hands over, unless that was done."""
        if not self._is_measured(state):
            self._measure(state, control)

    def _is_measured(self, state: TrainerState) -> bool:
        return bool(self.history) and self.history[-1]["step"] == state.global_step

    def _come_first(self) -> None:
        """Move before all callbacks but the one that decides what happens when: they read what this one finds."""
        callbacks = self.trainer.callback_handler.callbacks
        if self not in callbacks:
            raise ValueError("the trainer must be the one this callback is added to, got another one")
        # The handler goes through the list by position: those that move up by one have had their turn.
        callbacks.remove(self)
        callbacks.insert(1, self)

    def _measure(self, state: TrainerState, control: TrainerControl) -> None:
        """Measure on the first process, tell the others, and log."""
        model = cast(nn.Module, self.trainer.model)
        told: list[Any] = [{}, ""]
        pictures: dict[str, Any] = {}
        cause: ValueError | None = None
        if state.is_world_process_zero:
            try:
                with kept_random_states(), evaluation_weights(model, self.trainer.optimizer):
                    asked = self._asked(model)
                    seen, lacking = examine_asked(model, asked)
                    told[0], pictures = seen.values, examination_pictures(seen, model, head=asked.head)
                self._say(lacking)
            except ValueError as error:
                cause, told[1] = error, str(error)
        # An error too goes to every process: one that raised alone would leave the others waiting.
        values, problem = broadcast_object_list(told)
        if problem:
            raise ValueError(problem) from cause
        self.history.append({"epoch": float(state.epoch), "step": state.global_step, **values})
        should_log = control.should_log  # logging clears it, also before the loss of this epoch is logged
        self.trainer.log(_for_trainer(self.history[-1]))
        log_figures(figure_targets(self.trainer), pictures, step=state.global_step, step_key="train/global_step")
        control.should_log = self.trainer.control.should_log = should_log

    def _say(self, lacking: list[int]) -> None:
        """Say once which classes have no example among those looked at."""
        if lacking:
            named = ", ".join(map(str, lacking[:MOST_NAMED])) + (" ..." if len(lacking) > MOST_NAMED else "")
            logger.warning_once(
                f"mixscope: no example of class {named} is among the training examples looked at, so numbers that need "
                "one of each class are NaN (nc, nc_test, channels): raise max_examples or give train_batches"
            )

    def _asked(self, model: nn.Module) -> TrainerExamples:
        return TrainerExamples(self._train, self._test, head_of(model, self.head), self.sites, self.seed)

    def _find_examples(self, train_loader: DataLoader) -> None:
        trainer, self._test = self.trainer, None
        choice = {"most": self.max_examples, "seed": self.seed, "batch_size": trainer.args.eval_batch_size}
        with naming("train_batches"):
            self._train = given_or_chosen(self.train_batches, train_loader, **choice)
        with naming("eval_batches"):
            if self.eval_batches is None and isinstance(trainer.eval_dataset, dict):
                raise ValueError("must be given where there are several evaluation sets, got None")
            if self.eval_batches is not None or trainer.eval_dataset is not None:
                loader = None if self.eval_batches is not None else trainer.get_eval_dataloader()
                self._test = given_or_chosen(self.eval_batches, loader, **choice)
        if self.sites and self._test is None:
            raise ValueError("sites must come with evaluation examples (eval_batches, or the Trainer's), got none")


def _for_trainer(entry: dict[str, float]) -> dict[str, float]:
    """Return the numbers of an entry of the history by the keys of a Trainer's metrics."""
    return {f"{PREFIX}{key}": value for key, value in entry.items() if key not in ("epoch", "step")}
