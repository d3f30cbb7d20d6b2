"""A Lightning callback that measures any LightningModule while it is fitted, and leaves no trace in the training."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.utils import data
from torch.utils.data import DataLoader

from mixscope.base.batch_pairs import pair_of
from mixscope.base.checks import check_at_least, naming
from mixscope.base.generators import named_generator
from mixscope.base.kinds import checked
from mixscope.capturing.sites import check_sites
from mixscope.measuring import LAYER_MIXING, PAIR_MIXING, BlendLaw, examine, linear_head

NUM_BLENDS = 2000  # blends behind the channel and the linearity numbers: means of some hundred in each group
TRANSFER_HOOKS = ("on_before_batch_transfer", "on_after_batch_transfer", "transfer_batch_to_device")


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
                _check_transfer(pl_module, name=name)
                given = _choose_examples(loader, max_examples=self.max_examples, seed=self.seed, name=name)
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


@dataclass(frozen=True)
class Examples:
    """Batches (inputs, labels) in the precision of training; each `iter` is a new pass over them."""

    batches: Iterable[object]  # pairs [inputs, labels]
    convert: Callable[[Tensor], Tensor]  # brings inputs to the precision of training
    name: str  # in messages
    limit: int | None = None  # stop after the batch that brings the examples to this number

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (inputs, labels); a batch that is no pair of tensors is a ValueError."""
        num_seen = 0
        for batch in self.batches:
            if self.limit is not None and num_seen >= self.limit:
                return
            with naming(self.name):
                inputs, labels = pair_of(batch)
            num_seen += len(labels)
            yield self.convert(inputs), labels


def _check_transfer(pl_module: LightningModule, *, name: str) -> None:
    """Raise if batches are changed on their way to the module, as then a data loader does not show what it is fed."""
    datamodule = pl_module.trainer.datamodule  # type: ignore[attr-defined]  # set by one of the Trainer's parts
    for owner in (pl_module, datamodule):
        for hook in TRANSFER_HOOKS:
            if owner is not None and is_overridden(hook, owner):
                raise ValueError(f"{name} must be given where {type(owner).__name__} defines {hook}, got None")


def _choose_examples(loader: object, *, max_examples: int, seed: int, name: str) -> DataLoader:
    """Return a loader over a random choice of the examples another loader goes through, the same in every epoch.

    The sampler of the other loader is not run, as its draws belong to training. `name` takes batches instead.
    """
    rule = f"{name} must be given where the Trainer's loader is not one DataLoader with a standard sampler"
    if not isinstance(loader, DataLoader) or type(loader.batch_sampler) is not data.BatchSampler:
        raise ValueError(f"{rule}, got {type(loader).__name__}")
    sampler = loader.batch_sampler.sampler
    # A distributed sampler may also share out what another sampler gives.
    is_plain = type(sampler) in (data.RandomSampler, data.SequentialSampler) or (
        isinstance(sampler, data.DistributedSampler) and sampler.dataset is loader.dataset
    )
    subset = sampler.indices if isinstance(sampler, data.SubsetRandomSampler) else None
    if not is_plain and subset is None:
        raise ValueError(f"{rule}, got the sampler {type(sampler).__name__}")
    indices = range(len(cast(Sized, loader.dataset))) if subset is None else subset
    order = torch.randperm(len(indices), generator=named_generator(seed, "lightning-examples"))[:max_examples]
    return DataLoader(
        data.Subset(loader.dataset, [int(indices[position]) for position in order.tolist()]),
        batch_size=loader.batch_sampler.batch_size,
        collate_fn=loader.collate_fn,
        generator=torch.Generator(),
    )
