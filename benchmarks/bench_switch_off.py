"""When to switch mixup off: fixed epochs, and rules that find the epoch while training, on few real digits.

The setting of `mixscope demo`. Mixup is trained once per seed; wherever something says "off", plain training branches
from a copy of its state, which is bit for bit a run with that epoch given. The test set is only looked at in the end.
"""

import copy
import math
import statistics
import time
from dataclasses import dataclass

import torch
from _bench import RESULTS, parse_arguments, write_result
from accelerate import Accelerator

from mixscope.base.generators import named_generator
from mixscope.bench.demo import NUM_DIGITS, demo_runs
from mixscope.data.batches import EvaluationBatches, TrainingBatches
from mixscope.data.loading import load_data
from mixscope.metrics.catalogue import BLEND_ENTROPY, FLOOR_GAP
from mixscope.metrics.overtraining.monitor import OvertrainingMonitor
from mixscope.metrics.overtraining.sharpness import gradient_norm
from mixscope.metrics.overtraining.turn_rules import FloorGapRule, TurnEstimate, ValidationRule
from mixscope.mixing.mixture import blend, blend_targets, soft_cross_entropy
from mixscope.mixing.mixup import Mixup, draw_mixture
from mixscope.models.networks import build_model
from mixscope.stats.intervals import student_interval
from mixscope.training.loop import Training

FIXED = (0, 10, 20, 50, 100, 150, 200, 300, 500, 700)
FIXED_COARSE = (0, 20, 50, 100, 200, 500)
NUM_FOLDS, FOLD_EPOCHS = 5, 400
CLEAN_ERROR, GRADIENT = "train/error_clean", "train/gradient_norm"
ACCELERATOR = Accelerator(cpu=True)


@dataclass(frozen=True)
class InterpolationRule:
    """All clean images have been right once, and that many times as many epochs have gone by."""

    multiple: float = 10

    @property
    def needs(self):
        return (CLEAN_ERROR,)

    def judge(self, epochs, values):
        first = next((epoch for epoch, error in zip(epochs, values[CLEAN_ERROR], strict=True) if error == 0), math.inf)
        has_turned = epochs[-1] >= self.multiple * first
        return TurnEstimate(has_turned=has_turned, confidence=float(has_turned), best_epoch=None)


@dataclass(frozen=True)
class GradientNormRule:
    """The gradient's running median (10 epochs) has fallen below a share of its largest since all images were right."""

    share: float = 0.7

    @property
    def needs(self):
        return (CLEAN_ERROR, GRADIENT)

    def judge(self, epochs, values):
        start = next((place for place, error in enumerate(values[CLEAN_ERROR]) if error == 0), len(epochs))
        norms = torch.tensor(values[GRADIENT][start:])
        if len(norms) < 10:
            return TurnEstimate(has_turned=False, confidence=0.0, best_epoch=None)
        medians = norms.unfold(0, 10, 1).median(dim=1).values
        has_turned = bool(medians[-1] < self.share * medians.max())
        return TurnEstimate(has_turned=has_turned, confidence=float(has_turned), best_epoch=None)


RULES = {
    "floor gap below 0.5 of the floor (default)": FloorGapRule(),
    "floor gap below 0.4 of the floor": FloorGapRule(share=0.4),
    "floor gap below 0.6 of the floor": FloorGapRule(share=0.6),
    "10 times the epochs until all clean images are right": InterpolationRule(),
    "gradient norm of the mixed loss past its peak": GradientNormRule(),
}
# What a rule needs beside the training itself.
NEEDS = {
    **{name: "nothing: two numbers of the training loss" for name in RULES if "floor" in name},
    "10 times the epochs until all clean images are right": "a forward pass over the training images every epoch",
    "gradient norm of the mixed loss past its peak": "a forward and backward pass over blends of them every epoch",
    "validation loss, 20% held out to the end": "20% of the images",
    "validation loss, 20% held out until the switch": "20% of the images, until the switch",
    "5-fold cross-validated loss, then all images": "5 more trainings on 80% of the images, up to the turn",
}


@dataclass(frozen=True)
class Setting:
    num_train: int = 200
    alpha: float = 1.0
    num_seeds: int = 10
    epochs: int = 1000
    fixed: tuple[int, ...] = FIXED


def make_training(setting, data, seed, rows=None):
    recipe = demo_runs(num_seeds=1, epochs=setting.epochs)["mixup-seed0"].training
    rows = torch.arange(len(data.train_labels)) if rows is None else rows
    batches = TrainingBatches(
        data.train_images[rows],
        data.train_labels[rows],
        batch_size=recipe.batch_size,
        mean=data.channel_mean,
        std=data.channel_std,
        seed=seed,
    )
    model = build_model("mlp", num_classes=data.num_classes, image_shape=data.image_shape, seed=seed)
    return Training(
        model,
        batches,
        Mixup(alpha=setting.alpha),
        recipe,
        num_classes=data.num_classes,
        seed=seed,
        accelerator=ACCELERATOR,
    )


def normalised(data, images, labels):
    batches = EvaluationBatches(images, labels, batch_size=10_000, mean=data.channel_mean, std=data.channel_std)
    return next(iter(batches))


def evaluate(model, inputs, labels):
    """Error and loss."""
    model.eval()
    with torch.no_grad():
        logits = model(inputs)
    error = float((logits.argmax(dim=1) != labels).double().mean())
    return error, float(torch.nn.functional.cross_entropy(logits.double(), labels))


def finish(setting, data, seed, state, *, mixing_off, test):
    """Train on without mixing, on all images; return test error and loss."""
    training = make_training(setting, data, seed)
    training.load_state(state)
    training.mixing_off = mixing_off
    for _ in training.epochs():
        pass
    return evaluate(training.model, *test)


def folds_of(labels, seed):
    """Deal the images of every class to the folds."""
    folds, dealt = torch.zeros(len(labels), dtype=torch.int64), 0
    generator = named_generator(seed, "folds")
    for label in labels.unique():
        rows = (labels == label).nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=generator)]
        folds[rows] = (torch.arange(len(rows)) + dealt) % NUM_FOLDS
        dealt += len(rows)
    return folds


def held_out_rules(setting, data, seed, *, test):
    """Train the folds side by side; return the two validation runs' ends and the cross-validated epoch."""
    folds = folds_of(data.train_labels, seed)
    kept = [(folds != fold).nonzero()[:, 0] for fold in range(NUM_FOLDS)]
    left = [
        normalised(data, data.train_images[folds == fold], data.train_labels[folds == fold])
        for fold in range(NUM_FOLDS)
    ]
    trainings = [make_training(setting, data, seed, rows) for rows in kept]
    one, many = OvertrainingMonitor(ValidationRule()), OvertrainingMonitor(ValidationRule())
    limit = min(FOLD_EPOCHS, setting.epochs)
    one_epoch = many_epoch = state = None
    for summaries in zip(*(training.epochs() for training in trainings), strict=True):
        epoch = summaries[0].epoch
        losses = [evaluate(training.model, *rest)[1] for training, rest in zip(trainings, left, strict=True)]
        if one_epoch is None and (one.update(epoch, {"validation/loss": losses[0]}).has_turned or epoch == limit):
            one_epoch, state = epoch, copy.deepcopy(trainings[0].state())
        if many_epoch is None:
            verdict = many.update(epoch, {"validation/loss": sum(losses) / NUM_FOLDS})
            many_epoch = epoch if verdict.has_turned or epoch == limit else None
        if one_epoch is not None and many_epoch is not None:
            break
    ends = {}
    reduced = make_training(setting, data, seed, kept[0])
    reduced.load_state(state)
    reduced.mixing_off = one_epoch
    for _ in reduced.epochs():
        pass
    ends["validation loss, 20% held out to the end"] = (one_epoch, *evaluate(reduced.model, *test))
    given_back = finish(setting, data, seed, state, mixing_off=one_epoch, test=test)
    ends["validation loss, 20% held out until the switch"] = (one_epoch, *given_back)
    return ends, many_epoch


def run_seed(setting, seed):
    """Return {method: (switch epoch, test error, test loss)}."""
    data = load_data("digits", test_size=NUM_DIGITS - setting.num_train)
    test = normalised(data, data.test_images, data.test_labels)
    train = normalised(data, data.train_images, data.train_labels)
    ends, folded_epoch = held_out_rules(setting, data, seed, test=test)
    generator = named_generator(seed, "blends of the gradient norm")
    mixture = draw_mixture(len(train[0]), Mixup(alpha=setting.alpha, per_example=True), generator=generator)
    blends = [(blend(train[0], mixture), blend_targets(train[1], mixture, num_classes=data.num_classes))]
    training = make_training(setting, data, seed)
    monitors = {name: OvertrainingMonitor(rule) for name, rule in RULES.items()}
    wanted = {f"fixed {epoch}": epoch for epoch in setting.fixed}
    wanted["5-fold cross-validated loss, then all images"] = folded_epoch
    states = {0: copy.deepcopy(training.state())}
    for summary in training.epochs():
        values = {
            FLOOR_GAP: summary.loss - summary.loss_floor,
            BLEND_ENTROPY: summary.loss_floor,
            CLEAN_ERROR: evaluate(training.model, *train)[0],
            GRADIENT: gradient_norm(training.model, blends, loss=soft_cross_entropy),
        }
        for name, monitor in list(monitors.items()):
            if monitor.update(summary.epoch, values).has_turned:
                wanted[name] = summary.epoch
                del monitors[name]
        if summary.epoch in wanted.values():
            states[summary.epoch] = copy.deepcopy(training.state())
    throughout = evaluate(training.model, *test)
    ends["mixup throughout"] = (setting.epochs, *throughout)
    for name in monitors:  # never said anything
        ends[name] = (setting.epochs, *throughout)
    branches = {}
    for name, epoch in wanted.items():
        if epoch not in branches:
            branches[epoch] = finish(setting, data, seed, states[epoch], mixing_off=epoch, test=test)
        ends[name] = (epoch, *branches[epoch])
    return ends


def interval(values):
    """Mean with its 95% interval over seeds, Student's t."""
    low, high = student_interval(values)
    return {"mean": round(statistics.mean(values), 3), "low": round(low, 3), "high": round(high, 3)}


def summarise_setting(setting, per_seed):
    """Mean test errors in percent, and differences within seeds to the best fixed epoch, to ERM and to mixup."""
    errors = {name: [100 * ends[name][1] for ends in per_seed] for name in per_seed[0]}
    fixed = [f"fixed {epoch}" for epoch in setting.fixed]
    best = min(fixed, key=lambda name: sum(errors[name]))

    def less(name, other):
        return interval([own - its for own, its in zip(errors[name], errors[other], strict=True)])

    methods = {
        name: {
            "epochs": sorted(ends[name][0] for ends in per_seed),
            "test_error_percent": interval(errors[name]),
            "test_loss_nats": interval([ends[name][2] for ends in per_seed]),
            "minus_best_fixed": less(name, best),
            "minus_erm": less(name, "fixed 0"),
            "minus_mixup": less(name, "mixup throughout"),
            "needs": NEEDS.get(name, ""),
            "per_seed": errors[name],
        }
        for name in [*fixed, *sorted(set(errors) - set(fixed))]
    }
    return {
        "num_train": setting.num_train,
        "alpha": setting.alpha,
        "num_seeds": len(per_seed),
        "epochs": setting.epochs,
        "best_fixed": best,
        "methods": methods,
    }


def main():
    arguments = parse_arguments(__doc__)
    torch.set_num_threads(1)
    settings = [
        Setting(),
        Setting(num_train=100, num_seeds=3, fixed=FIXED_COARSE),
        Setting(num_train=500, num_seeds=3, fixed=FIXED_COARSE),
        Setting(alpha=0.2, num_seeds=3, fixed=FIXED_COARSE),
        Setting(alpha=4.0, num_seeds=3, fixed=FIXED_COARSE),
    ]
    out = arguments.out
    if arguments.quick:
        settings = [Setting(num_seeds=2, epochs=40, fixed=(0, 10, 20))]
        out = out or RESULTS / "switch_off_quick.json"
    notes = [
        "The demonstration's network and recipe: MLP 64-256-256-10, SGD 0.05, momentum 0.9, weight decay 1e-4, batches "
        "of 50, constant rate; one subset of the digits, seeds differ in weights, order and blends.",
        "fixed 0 is plain training (ERM). The best fixed epoch is chosen by the test errors shown; no rule knows them.",
        "Intervals: 95%, Student's t over seeds; differences are taken within seeds. Errors in percent.",
    ]
    results = []
    for setting in settings:
        per_seed = []
        for seed in range(setting.num_seeds):
            began = time.perf_counter()
            per_seed.append(run_seed(setting, seed))
            print(f"n={setting.num_train} alpha={setting.alpha} seed {seed}: {time.perf_counter() - began:.0f} s")
        results.append(summarise_setting(setting, per_seed))
        for name, method in results[-1]["methods"].items():
            print(f"  {name:56s} {method['test_error_percent']['mean']:6.2f}  {method['epochs']}", flush=True)
        write_result("switch_off", results, out=out, notes=notes)


if __name__ == "__main__":
    main()
