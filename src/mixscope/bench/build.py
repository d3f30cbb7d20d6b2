"""Bench of a run: everything it works with, made from its options; every mistake in them shows here."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mixscope.base.errors import UserError, users_code
from mixscope.base.generators import derive_seed, named_generator
from mixscope.bench.measurement import Subject
from mixscope.bench.network_checks import check_forward, check_places, check_training, has_batch_norm
from mixscope.bench.observer import Observer
from mixscope.bench.options import DataOptions, MixingOptions, TrainOptions
from mixscope.bench.probe import Probe, build_probe
from mixscope.bench.run_images import choose_labelled, choose_unlabelled, prepare_whole_images
from mixscope.bench.run_processes import (
    build_accelerator,
    check_alike,
    check_shareable,
    describe_options,
    describe_sources,
    failing_together,
)
from mixscope.bench.theory_overlay import expectation_of
from mixscope.data.batches import Augmentation, TrainingBatches
from mixscope.data.image_data import ImageData
from mixscope.data.loading import is_path
from mixscope.mixing.consistency import Consistency
from mixscope.mixing.mixture import INPUT_SITE
from mixscope.mixing.schemes import SCHEMES, MixingScheme
from mixscope.models.hub_models import HUB_PREFIX, new_head_note
from mixscope.models.networks import build_model, find_head, fix_classifier, model_sites
from mixscope.training.consistency_term import ConsistencyTerm
from mixscope.training.loop import Training
from mixscope.training.objective import has_convolutions


@dataclass(frozen=True)
class Bench:
    """All that one run works with."""

    options: TrainOptions
    accelerator: Accelerator
    data: ImageData
    model: nn.Module
    head: str
    sites: tuple[str, ...]
    training: Training
    probe: Probe
    unlabelled: Tensor | None

    @property
    def subject(self) -> Subject:
        """What is measured."""
        return Subject(self.model, self.head, self.sites, self.probe, expectation_of(self.options))


def anchored(options: TrainOptions) -> TrainOptions:
    """Return the options with the files they name as absolute paths, so that they hold from any folder."""
    return replace(options, data=anchored_data(options.data), model=anchored_model(options.model))


def anchored_data(options: DataOptions) -> DataOptions:
    """Return the options of the images with absolute paths."""
    spec = os.path.abspath(os.path.expanduser(options.data)) if is_path(options.data) else options.data
    return replace(options, data=spec, data_dir=options.data_dir and options.data_dir.absolute())


def anchored_model(name: str) -> str:
    """Return FILE.py:FACTORY and hf-model:FOLDER with an absolute path, and any other name as it is."""
    folder = os.path.expanduser(name.removeprefix(HUB_PREFIX))
    if name.startswith(HUB_PREFIX) and os.path.isdir(folder):
        return f"{HUB_PREFIX}{os.path.abspath(folder)}"
    file, colon, factory = name.rpartition(":")
    return f"{os.path.abspath(file)}{colon}{factory}" if file.endswith(".py") else name


def build_scheme(options: MixingOptions, sites: tuple[str, ...]) -> MixingScheme:
    """Return the scheme the options name; `sites` are the network's own, see `mixing_places`."""
    row = SCHEMES[options.mixing]
    given = {name: getattr(options, name) for name in row.options if name != "mixing_sites"}
    arguments = {name: value for name, value in given.items() if value is not None}
    places = mixing_places(options, sites)
    return row.load()(**arguments, **({"sites": places} if places else {}))


def mixing_places(options: MixingOptions, sites: tuple[str, ...]) -> tuple[str, ...]:
    """Return where a scheme that mixes at modules does so: at the input and the first two sites unless the options say.

    Source: Verma et al. 2019 mix at the input or an early layer.
    """
    if "mixing_sites" not in SCHEMES[options.mixing].options:
        return ()
    if not options.mixing_sites and not sites:
        raise UserError("mixing-sites must name the modules to mix at: this network does not name its sites")
    return options.mixing_sites or (INPUT_SITE, *sites[:2])


def build_bench(options: TrainOptions, *, folder: Path, tracker: str | None, observer: Observer) -> Bench:
    """Make everything a run works with, its accelerator included; see `assemble_bench`."""
    accelerator = build_accelerator(options.device, options.training, tracker=tracker, folder=folder)
    return assemble_bench(options, accelerator, observer=observer)


def assemble_bench(options: TrainOptions, accelerator: Accelerator, *, observer: Observer) -> Bench:
    """Make everything a run works with; every mistake in the options shows here, before anything is written."""
    recipe = options.training
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    check_alike(accelerator, lambda: describe_options(options))
    for is_turn in (accelerator.is_main_process, not accelerator.is_main_process):
        with failing_together(accelerator):  # what one process downloads and decodes, the others find in the cache
            if is_turn:
                whole = prepare_whole_images(options.data, observer)
                data = choose_labelled(whole, options.data)
                unlabelled = choose_unlabelled(whole, options.data, options.consistency)
    with failing_together(accelerator):
        model = build_model(
            options.model, num_classes=data.num_classes, image_shape=data.image_shape, seed=options.seed
        )
    check_alike(accelerator, lambda: describe_sources(options, data, unlabelled, model))
    if (note := new_head_note(options.model, num_classes=data.num_classes)) and accelerator.is_main_process:
        observer.note(note)
    head = find_head(model, options.head, inputs=data.test_images[:2].float() / 255)
    if options.classifier == "fixed-etf":
        fix_classifier(model, head, generator=named_generator(options.seed, "fixed classifier"))
    own_sites = model_sites(model, head)
    sites = options.measuring.sites or own_sites
    check_places(model, [*sites, *(site for site in options.mixing.mixing_sites if site != INPUT_SITE)])
    if unlabelled is not None and accelerator.num_processes > 1:
        raise UserError(f"consistency-points must be 0 where several processes train, got {accelerator.num_processes}")
    check_shareable(model, accelerator, name=options.model)
    if recipe.compile and "mixing_sites" in SCHEMES[options.mixing.mixing].options:
        raise UserError(f"compile must be off with {options.mixing.mixing}: hooks are not seen by a compiled network")
    check_forward(model, data, head=head, sites=sites, name=options.model)
    smallest = 2 if has_batch_norm(model) else 1  # over all processes together: the batches are those of one
    data = data.to(accelerator.device)
    channels_last = recipe.channels_last and has_convolutions(model)

    def make_batches(images: Tensor, labels: Tensor, *, batch_size: int, seed: int) -> TrainingBatches:
        return TrainingBatches(
            images,
            labels,
            batch_size=batch_size,
            mean=data.channel_mean,
            std=data.channel_std,
            seed=seed,
            augmentation=Augmentation(options.augmentation.crop_padding, options.augmentation.flip),
            smallest=smallest,
            device=accelerator.device,
            channels_last=channels_last,
        )

    batches = make_batches(data.train_images, data.train_labels, batch_size=recipe.batch_size, seed=options.seed)
    declared = own_sites if hasattr(model, "sites") else ()
    scheme = build_scheme(options.mixing, declared)
    with failing_together(accelerator):
        check_training(
            model,
            batches,
            recipe,
            num_classes=data.num_classes,
            sites=mixing_places(options.mixing, declared),
            accelerator=accelerator,
            name=options.model,
        )
    auxiliary = None
    if unlabelled is not None:
        model.to(accelerator.device)  # before a teacher is copied from it
        if channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        asked = options.consistency
        others = make_batches(
            unlabelled,
            torch.zeros(len(unlabelled), dtype=torch.int64),
            batch_size=asked.consistency_batch or recipe.batch_size,
            seed=derive_seed(options.seed, "unlabelled"),
        )
        consistency = Consistency(
            num_points=asked.consistency_points,
            alpha=asked.consistency_alpha,
            teacher=asked.consistency_teacher,
            space=asked.consistency_space,
            peak_weight=asked.consistency_weight,
            ramp_share=asked.consistency_ramp,
            ema_decay=asked.consistency_decay,
        )
        with users_code(f"{options.model} must be a network that can be copied for its teacher, but it raised"):
            auxiliary = ConsistencyTerm(model, consistency, others, seed=options.seed, accelerator=accelerator)
    training = Training(
        model,
        batches,
        scheme,
        recipe,
        num_classes=data.num_classes,
        seed=options.seed,
        accelerator=accelerator,
        auxiliary=auxiliary,
    )
    probe = build_probe(
        data,
        options.measuring,
        mean=data.channel_mean,
        std=data.channel_std,
        split_seed=options.data.split_seed,
        channels_last=channels_last,
    )
    return Bench(options, accelerator, data, model, head, sites, training, probe, unlabelled)
