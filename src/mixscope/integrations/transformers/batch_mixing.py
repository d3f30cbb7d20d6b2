"""Mixing of a Trainer's training batches where they are collated, in workers or not; evaluations are never mixed."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import IterableDataset, get_worker_info
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, default_data_collator
from transformers.trainer_utils import has_length

from mixscope.base.batch_pairs import pair_of
from mixscope.base.checks import check_at_least, check_labels, check_size
from mixscope.base.generators import named_generator
from mixscope.base.kinds import checked
from mixscope.integrations.blended_batches import blend_in
from mixscope.mixing.mixup import scheme_at
from mixscope.mixing.schemes import MixingScheme

UNTOLD = -1  # the epoch of a collator that was never told one
Collate = Callable[[list[Any]], Any]


class MixupCollator:
    """Collate examples and blend them within their batch: labels become (B, K) float whose rows sum to 1.

    For a training loader of your own, `DataLoader(data, collate_fn=MixupCollator(...))`. With a Trainer use
    `MixupTrainerCallback`, which puts one into its training loader alone: a Trainer collates evaluations with its
    `data_collator` too.

    Call `set_epoch` before each epoch. Every draw is then a function of (seed, epoch, rank, batch), where batches are
    numbered through all workers: no epoch repeats another, however workers are seeded; the number of workers changes
    nothing; a training that is gone on with draws as an unbroken one; global random states are never touched. Workers
    that outlive an epoch are told too. Without `set_epoch` draws are named by the base seed that the loader draws for
    its workers at each pass: still no epoch repeats another, but draws depend on the global random state.

    Example:
        >>> from mixscope import Mixup
        >>> examples = [{"pixel_values": torch.full((1, 2, 2), float(i)), "labels": i} for i in range(3)]
        >>> batch = MixupCollator(Mixup(alpha=1.0), num_classes=3)(examples)
        >>> batch["pixel_values"].shape, batch["labels"].sum(dim=1)
        (torch.Size([3, 1, 2, 2]), tensor([1., 1., 1.]))
    """

    @checked
    def __init__(
        self,
        scheme: MixingScheme,
        *,
        num_classes: int,
        collate: Callable | None = None,
        mixing_off: int | None = None,
        seed: int = 0,
        rank: int = 0,
    ) -> None:
        """Choose what to mix.

        Args:
            scheme: Mixup or CutMix, for example; it must blend inputs, not hidden layers.
            num_classes: K, at least 2.
            collate: Makes a batch of examples: a dict or a list with inputs and labels. None: transformers'
                `default_data_collator`.
            mixing_off: After how many epochs mixing stops; labels stay (B, K), then with a single 1. None: never.
            seed: Names the draws.
            rank: Number of the process, where several train together: each draws apart.
        """
        check_size(2, num_classes=num_classes)
        check_at_least(0, rank=rank, mixing_off=mixing_off or 0)
        self.scheme = scheme
        self.num_classes = num_classes
        self.collate: Collate = default_data_collator if collate is None else collate
        self.mixing_off = mixing_off
        self.seed = seed
        self.rank = rank
        # In memory that worker processes share: those that outlive an epoch see the next one's number.
        self._told = torch.tensor([UNTOLD, 0]).share_memory_()
        self._counted = (UNTOLD, 0)  # of this process: the epoch, and how many batches it has collated in it

    @checked
    def set_epoch(self, epoch: int, *, first_batch: int = 0) -> None:
        """Say which epoch begins, counted from 0, before the loader is gone through.

        Args:
            epoch: At least 0.
            first_batch: How many of its batches are skipped by the sampler, where a training is gone on with.
        """
        check_at_least(0, epoch=epoch, first_batch=first_batch)
        self._told.copy_(torch.tensor([epoch, first_batch]))
        self._counted = (epoch, 0)

    @checked
    def __call__(self, examples: Sequence[Any]) -> Any:
        """Return a batch of blends.

        Raises:
            ValueError: If the batch has no inputs and labels, labels are not one class in [0, K) per example, the
                scheme blends a hidden layer, or mixing is to stop and no epoch was told.
        """
        batch = self.collate(list(examples))
        inputs, labels = pair_of(batch)
        check_labels(labels, num_classes=self.num_classes, because=f"num_classes is {self.num_classes}")
        epoch, generator = self._next_draw()
        scheme = self.scheme
        if self.mixing_off is not None:
            if epoch == UNTOLD:
                raise ValueError("set_epoch must be called before each epoch where mixing_off is given, got no epoch")
            scheme = scheme_at(scheme, epoch + 1, mixing_off=self.mixing_off)
        mixture = scheme.draw(inputs, labels, generator=generator)
        blend_in(batch, inputs, labels, mixture, num_classes=self.num_classes)
        return batch

    def _next_draw(self) -> tuple[int, torch.Generator]:
        """Return the epoch and the generator of this process's next batch."""
        epoch, first = self._told.tolist()
        count = self._counted[1] if self._counted[0] == epoch else 0
        self._counted = (epoch, count + 1)
        worker = get_worker_info()
        # A loader hands its batches to the workers in turn.
        place = count if worker is None else count * worker.num_workers + worker.id
        if epoch == UNTOLD:
            base = 0 if worker is None else worker.seed - worker.id
            return epoch, named_generator(self.seed, "collated-mixing-untold", base, self.rank, place)
        return epoch, named_generator(self.seed, "collated-mixing", epoch, first + place, self.rank)


class MixupTrainerCallback(TrainerCallback):
    """Mix the training batches of a Trainer, and nothing else: it puts a `MixupCollator` into the training loader.

    `Trainer(callbacks=[MixupTrainerCallback(...)], compute_loss_func=soft_label_loss)`. Models then get blended inputs,
    the loss (B, K) shares; evaluations and predictions have loaders of their own, which are left as they are, with
    workers as without. Draws are named by (seed, epoch, batch, process), see `MixupCollator`; a training that is
    resumed goes on with the draws of an unbroken one.

    Example:
        >>> from mixscope import Mixup
        >>> callback = MixupTrainerCallback(Mixup(alpha=1.0), num_classes=10, mixing_off=150)
    """

    @checked
    def __init__(self, scheme: MixingScheme, *, num_classes: int, mixing_off: int | None = None, seed: int = 0) -> None:
        """Choose what to mix, as of `MixupCollator`.

        Args:
            scheme: Mixup or CutMix, for example; it must blend inputs, not hidden layers.
            num_classes: K, at least 2.
            mixing_off: After how many epochs mixing stops: 150 makes the 150th epoch the last one mixed. None: never.
            seed: Names the draws.
        """
        self.collator = MixupCollator(scheme, num_classes=num_classes, mixing_off=mixing_off, seed=seed)
        self._next_epoch, self._num_skipped = 0, 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Put the collator into the training loader.

        Raises:
            ValueError: If the loader mixes already, the model has another number of classes, or label smoothing is on.
        """
        loader, model = others["train_dataloader"], others["model"]
        if isinstance(loader.collate_fn, MixupCollator):
            raise ValueError("data_collator must not mix where MixupTrainerCallback does, got a MixupCollator")
        if args.label_smoothing_factor:
            got = f"{args.label_smoothing_factor:g}: the Trainer leaves it out beside compute_loss_func"
            raise ValueError(f"label_smoothing_factor must be 0 with MixupTrainerCallback, got {got}")
        _check_classes(model, self.collator.num_classes)
        self.collator.collate, self.collator.rank = loader.collate_fn, args.process_index
        # Accelerate's loaders read from one within.
        getattr(loader, "base_dataloader", loader).collate_fn = self.collator
        _refuse_own_loss(model)
        # As the Trainer counts them.
        steps = math.ceil(len(loader) / args.gradient_accumulation_steps) if has_length(loader) else args.max_steps
        self._next_epoch, steps_done = divmod(state.global_step, steps)
        is_skipped = not args.ignore_data_skip and not isinstance(loader.dataset, IterableDataset)
        self._num_skipped = steps_done * args.gradient_accumulation_steps if is_skipped else 0

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **others: Any
    ) -> None:
        """Tell the collator the epoch, before the loader is gone through."""
        self.collator.set_epoch(self._next_epoch, first_batch=self._num_skipped)
        self._next_epoch, self._num_skipped = self._next_epoch + 1, 0


def _check_classes(model: nn.Module, num_classes: int) -> None:
    """Raise if a model of transformers says that it has another number of classes."""
    found = getattr(getattr(model, "config", None), "num_labels", num_classes)
    if found != num_classes:
        raise ValueError(f"num_classes must be the model's {found} (config.num_labels), got {num_classes}")


def _refuse_own_loss(model: nn.Module) -> None:
    """Raise at the first batch if the model itself is to compute the loss: of shares it would take another one."""

    def look(module: nn.Module, values: tuple[Any, ...], named: dict[str, Any]) -> None:
        handle.remove()
        if named.get("labels") is not None:
            raise ValueError(
                "compute_loss_func must be given where batches are mixed, got none: "
                "Trainer(..., compute_loss_func=mixscope.integrations.transformers.soft_label_loss)"
            )

    handle = model.register_forward_pre_hook(look, with_kwargs=True)
