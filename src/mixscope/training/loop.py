"""Training loop, on Hugging Face Accelerate; every random number is a function of (seed, epoch, step)."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mixscope.base.generators import named_generator, seeded_globals
from mixscope.capturing.outputs import logits_of
from mixscope.metrics.catalogue import BLEND_ENTROPY, FLOOR_GAP
from mixscope.metrics.overtraining.monitor import OvertrainingMonitor
from mixscope.mixing.manifold import blending_at
from mixscope.mixing.mixture import INPUT_SITE, Mixture, blend, blend_targets
from mixscope.mixing.mixup import NoMixing, scheme_at
from mixscope.mixing.schemes import MixingScheme
from mixscope.training.consistency_term import Batches, ConsistencyTerm
from mixscope.training.objective import (
    LOSS_FLOORS,
    LOSSES,
    EpochSummary,
    build_optimizer,
    build_schedule,
    check_losses,
    check_weights,
    has_convolutions,
    mean_entropy,
    smooth_targets,
)
from mixscope.training.recipe import Recipe
from mixscope.training.whole_batch import whole_batch_norm

CHECK_EVERY = 50  # steps between looks at the loss, each of which waits for the device


class _Network(nn.Module):
    """The network as training runs it: Accelerate rewrites the forward pass of what it prepares, and not of itself."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        return logits_of(self.model(inputs))


class Training:
    """A network in training: iterate over `epochs()`; between epochs `state()` is all it takes to go on elsewhere.

    Args:
        model: The network; moved to the accelerator's device.
        batches: Batches already on that device. Under several processes every process gets the whole batch and takes
            its share of the rows, so that one process and many train on the same blends, with the same losses but for
            the order of sums: batch norm takes its statistics from the whole batch. Two things are drawn in each
            process for its own rows, and so differ from one process: partners at hidden layers, and what layers such as
            dropout draw.
        scheme: What is mixed while mixing is on.
        recipe: Everything else.
        seed: Names all draws of mixing, with the epoch, the step and (for hidden layers) the process.
        accelerator: Device, precision and processes.
        monitor: Ends mixing where the recipe says "auto" and it calls the turn. Left out: one that goes by the training
            loss and its floor alone, so that no image is set aside and no pass is added.
        auxiliary: A loss on other images that is added to the supervised one, in one process.

    Attributes:
        epoch: The epochs trained so far.
        mixing_off: After how many epochs mixing stops, or None: as the recipe says, or as was decided.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        scheme: MixingScheme,
        recipe: Recipe,
        *,
        num_classes: int,
        seed: int,
        accelerator: Accelerator,
        monitor: OvertrainingMonitor | None = None,
        auxiliary: ConsistencyTerm | None = None,
    ) -> None:
        self.mixing_off = None if recipe.mixing_off == "auto" else recipe.mixing_off
        self._monitor = (monitor or OvertrainingMonitor()) if recipe.mixing_off == "auto" else None
        self.model, self.batches, self.scheme, self.recipe = model, batches, scheme, recipe
        self.num_classes, self.seed, self.accelerator = num_classes, seed, accelerator
        self.auxiliary = auxiliary
        self.epoch = 0
        model.to(accelerator.device)
        if recipe.channels_last and has_convolutions(model):
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Buffers that begin with an infinity mean it, as attention masks do; those of batch norm begin finite.
        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point() and buffer.isfinite().all()]
        self._watched = [*model.parameters(), *buffers]
        self._optimizer = build_optimizer(model, recipe)
        self._schedule = build_schedule(self._optimizer, recipe, steps_per_epoch=len(batches))
        # Accelerate's optimizer wrapper and its backward serve loss scaling and accumulation, which fp32 and bf16 do
        # without; the wrapper looks for an optional package on disk at every step (0.25 ms).
        self._network = accelerator.prepare(_Network(model))

    def epochs(self) -> Iterator[EpochSummary]:
        """Train the epochs that are left, one at a time.

        Raises:
            NonFiniteLossError: If the loss becomes NaN or infinite, naming the epoch, the step and the learning rate.
        """
        while self.epoch < self.recipe.epochs:
            epoch, accelerator = self.epoch + 1, self.accelerator
            # Dropout and the like draw from the global generators: they too repeat, and go on where a run broke off.
            with seeded_globals(self.seed, "layers", epoch, accelerator.process_index, device=accelerator.device):
                summary = self._train_epoch(epoch)
            self.epoch += 1
            if self._monitor is not None and self.mixing_off is None:
                values = {FLOOR_GAP: summary.floor_gap, BLEND_ENTROPY: summary.blend_entropy}
                if self._monitor.update(summary.epoch, values).has_turned:
                    self.mixing_off = self.epoch
            yield summary

    def state(self) -> dict[str, Any]:
        """Return all that changes in training, as tensors and plain values; the tensors go on changing with it."""
        auxiliary = {} if self.auxiliary is None else {"auxiliary": self.auxiliary.state()}
        return {
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "mixing_off": self.mixing_off,
            "switch_off": {} if self._monitor is None else self._monitor.state(),
            **auxiliary,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state: the weights after the last epoch are bit for bit those of an unbroken run.

        Raises:
            KeyError, RuntimeError, ValueError: If the state is not one of the same network and recipe.
        """
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        if self._monitor is not None:
            self._monitor.load_state(state["switch_off"])
        if self.auxiliary is not None:
            self.auxiliary.load_state(state["auxiliary"])
        self.mixing_off = state["mixing_off"]
        self.epoch = state["epoch"]

    def _train_epoch(self, epoch: int) -> EpochSummary:
        recipe, accelerator = self.recipe, self.accelerator
        scheme = scheme_at(self.scheme, epoch, mixing_off=self.mixing_off)
        loss_function = LOSSES[recipe.loss]
        losses: list[Tensor] = []
        floors: list[Tensor] = []
        entropies: list[Tensor] = []
        hits: list[Tensor] = []
        auxiliary_losses: list[Tensor] = []
        rates: list[float] = []
        num_examples, steps_before = 0, (epoch - 1) * len(self.batches)
        when = f"in epoch {epoch}, step {{step}} of {len(self.batches)}"
        self._network.train()
        for step, (all_inputs, all_labels) in enumerate(self.batches.epoch(epoch)):
            inputs, labels, mixture, share = self._draw(scheme, all_inputs, all_labels, epoch=epoch, step=step)
            targets = blend_targets(labels, mixture, num_classes=self.num_classes)
            if mixture.site == INPUT_SITE:
                inputs = blend(inputs, mixture)
            with ExitStack() as blocks:  # over the backward pass too, where activation checkpointing computes again
                blocks.enter_context(blending_at(self.model, mixture))
                if accelerator.num_processes > 1:
                    blocks.enter_context(whole_batch_norm(is_counted=share > 0))
                logits = self._network(inputs)
                aims = smooth_targets(targets, recipe.label_smoothing)
                loss = loss_function(logits, aims)
                (loss * share if share != 1 else loss).backward()
            if self.auxiliary is not None:
                self._add_auxiliary(auxiliary_losses, step=steps_before + step)
            if recipe.max_gradient_norm is not None:
                accelerator.clip_grad_norm_(self._network.parameters(), recipe.max_gradient_norm)
            rates.append(float(self._optimizer.param_groups[0]["lr"]))
            self._optimizer.step()
            self._optimizer.zero_grad()
            self._schedule.step()
            if self.auxiliary is not None:
                self.auxiliary.after_step()
            losses.append(loss.detach() * (share * len(all_inputs)))
            floors.append(LOSS_FLOORS[recipe.loss](aims) * (share * len(all_inputs)))
            entropies.append(mean_entropy(targets) * (share * len(all_inputs)))
            hits.append(targets.gather(1, logits.detach().argmax(dim=1, keepdim=True)).sum() * (share > 0))
            num_examples += len(all_inputs)
            if (step + 1) % CHECK_EVERY == 0:
                check_losses(losses, rates, when=when, accelerator=accelerator)
        check_losses(losses, rates, when=when, accelerator=accelerator)
        check_weights(self._watched, rates, when=when)
        # `share` made each process's loss count as its rows times the number of processes.
        sums = torch.stack([torch.stack(parts).cpu().double().sum() for parts in (losses, floors, entropies, hits)])
        if accelerator.num_processes > 1:
            sums = accelerator.reduce(sums.to(accelerator.device), reduction="sum")
        *totals, num_hits = sums.tolist()
        loss, floor, entropy = (total / (accelerator.num_processes * num_examples) for total in totals)
        return EpochSummary(
            epoch=epoch,
            step=epoch * len(self.batches),
            learning_rate=rates[-1],
            mixing_on=not isinstance(scheme, NoMixing),
            loss=loss,
            loss_floor=floor,
            blend_entropy=entropy,
            accuracy_blends=num_hits / num_examples,
            auxiliary=torch.stack(auxiliary_losses).double().mean().item() if auxiliary_losses else None,
        )

    def _add_auxiliary(self, losses: list[Tensor], *, step: int) -> None:
        """Add the gradient of the auxiliary loss at its weight, and its plain value to `losses`; 0 runs nothing."""
        assert self.auxiliary is not None
        weight = self.auxiliary.consistency.weight_at(step, self.recipe.epochs * len(self.batches))
        if weight != 0:
            loss = self.auxiliary.loss(self._network, step=step)
            losses.append(loss.detach())
            (weight * loss).backward()

    def _draw(
        self, scheme: MixingScheme, inputs: Tensor, labels: Tensor, *, epoch: int, step: int
    ) -> tuple[Tensor, Tensor, Mixture, float]:
        """Return the inputs and labels that members index, this process's mixture, and the factor of its mean loss."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        generator = named_generator(self.seed, "mixing", epoch, step)
        mixture = scheme.draw(inputs, labels, generator=generator)
        if world == 1:
            return inputs, labels, mixture.to(inputs.device), 1.0
        size = len(inputs)
        rows = slice(size * rank // world, size * (rank + 1) // world)
        share = (rows.stop - rows.start) * world / size
        if share == 0:  # a last batch smaller than the number of processes: run one row, and let it count nothing
            rows = slice(0, 1)
        if mixture.site != INPUT_SITE:
            inputs, labels = inputs[rows], labels[rows]
            own = scheme.draw(inputs, labels, generator=named_generator(self.seed, "mixing", epoch, step, rank + 1))
            mixture = replace(own, site=mixture.site)
        else:
            mixture = mixture.rows(rows)
        return inputs, labels, mixture.to(inputs.device), share
