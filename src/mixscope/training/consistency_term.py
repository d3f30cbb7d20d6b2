"""Consistency loss on unlabelled images as a part of training: its batches, its teacher, and what it remembers."""

import copy
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mixscope.base.generators import named_generator
from mixscope.capturing.outputs import logits_of
from mixscope.mixing.consistency import Consistency
from mixscope.mixing.mixture import blend


class Batches(Protocol):
    """Batches on the device: `epoch(e)` gives the same ones in the same order whenever it is called with the same e."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (B, C, H, W) float inputs and (B,) int64 labels, from batch number `start` on."""


class ConsistencyTerm:
    """Unsupervised mixing of K points beside supervised training: a loss that never sees the labelled batch.

    The images of a step and their mixture are functions of the seed and the step alone: the pool is gone through again
    and again, in a new order each time, whatever an epoch of the labelled images is. The blends and, with the network
    as its own teacher, their members go through the network in training mode, so batch norm's running statistics see
    them, as in the code of Verma et al. 2019b.

    The moving-average teacher starts as a copy of the network. After step t, counted from 1, its parameters move
    towards the network's with decay min(1 - 1/(t + 1), ema_decay), as there; its buffers are copied (there they are
    not, but neither are they read). It runs in training mode, as there: batch norm by the batch's own statistics.

    The batches are unlabelled images on the network's device; seed and step name the draws, and the accelerator's
    precision is the teacher's. With several processes it raises: their batches would be blended among the rows of one.
    """

    def __init__(
        self, model: nn.Module, consistency: Consistency, batches: Batches, *, seed: int, accelerator: Accelerator
    ) -> None:
        if accelerator.num_processes > 1:
            raise ValueError(f"consistency must be trained in one process, got {accelerator.num_processes}")
        self.consistency, self.batches = consistency, batches
        self._model, self._seed, self._accelerator = model, seed, accelerator
        self._teacher = copy.deepcopy(model).requires_grad_(False).train() if consistency.teacher == "ema" else None
        self._num_steps = 0
        self._next_step = -1  # whose batch the open iterator gives next; none is open
        self._open: Iterator[tuple[Tensor, Tensor]] = iter(())

    def loss(self, network: Callable[[Tensor], Tensor], *, step: int) -> Tensor:
        """Return how far the network is from consistent on the unlabelled images of a step; a scalar, at least 0."""
        images = self._images(step)
        generator = named_generator(self._seed, "consistency", step)
        mixture = self.consistency.draw(len(images), generator=generator).to(images.device)
        outputs = network(blend(images, mixture))
        return self.consistency.loss(outputs, self._teach(network, images), mixture)

    def after_step(self) -> None:
        """Move the teacher towards the network."""
        self._num_steps += 1
        if self._teacher is None:
            return
        decay = min(1 - 1 / (self._num_steps + 1), self.consistency.ema_decay)
        with torch.no_grad():
            torch._foreach_lerp_(list(self._teacher.parameters()), list(self._model.parameters()), 1 - decay)
            for ours, theirs in zip(self._teacher.buffers(), self._model.buffers(), strict=True):
                ours.copy_(theirs)

    def state(self) -> dict[str, Any]:
        """Return the number of steps, and the teacher where there is one."""
        return {"steps": self._num_steps, "teacher": None if self._teacher is None else self._teacher.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state, which must be one of the same network and teacher."""
        if (state["teacher"] is None) != (self._teacher is None):
            raise ValueError(f"the state must be one of a run with consistency-teacher {self.consistency.teacher}")
        if self._teacher is not None:
            self._teacher.load_state_dict(state["teacher"])
        self._num_steps = state["steps"]

    def _images(self, step: int) -> Tensor:
        """Return the unlabelled images of a step; consecutive steps share one pass over the pool."""
        pass_number, place = divmod(step, len(self.batches))
        if step != self._next_step or place == 0:
            self._open = self.batches.epoch(pass_number, start=place)
        self._next_step = step + 1
        return next(self._open)[0]

    def _teach(self, network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Return the logits for the images themselves that the network's blends are compared with."""
        match self.consistency.teacher:
            case "same":
                return network(images)
            case "same-detached":
                with torch.no_grad():
                    return network(images)
            case "ema":
                assert self._teacher is not None
                with torch.no_grad(), self._accelerator.autocast():
                    return logits_of(self._teacher(images))
