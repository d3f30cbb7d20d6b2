"""Milliseconds to solve for the features of blends, their joint optimum and a fit, beside the routes without theory."""

import math
import time

import numpy as np
import torch
from _bench import parse_arguments, summarise, write_result
from scipy.integrate import quad
from scipy.optimize import brentq, minimize, minimize_scalar, root
from scipy.stats import beta

from mixscope.base.simplex import simplex_etf
from mixscope.theory.channel.curve_fit import fit_mixup_channel, mixup_points
from mixscope.theory.channel.joint_scale import classifier_scale
from mixscope.theory.channel.mixed_features import mixup_features
from mixscope.theory.channel.soft_labels import soft_label_logits
from mixscope.theory.weight_law import BetaLaw

NUM_CLASSES, PENALTY, SCALE = 10, 5e-4, 1.67
GAIN = SCALE**2 * NUM_CLASSES / ((NUM_CLASSES - 1) * PENALTY)


def measure(function, repetitions):
    """Return milliseconds per call."""
    times = []
    for _ in range(repetitions + 1):
        began = time.perf_counter()
        function()
        times.append((time.perf_counter() - began) * 1e3)
    return summarise(times[1:])


def naive_pair(weight, gain=GAIN):
    """Solve the two equations of one blend as they stand, by scipy's hybrid method from a rough guess."""

    def equations(x):
        first, second = math.exp(min(x[0], 300)), math.exp(min(x[1], 300))
        partition = NUM_CLASSES - 2 + first + second
        return [
            x[0] / gain - weight + (first - 1) / partition,
            x[1] / gain - (1 - weight) + (second - 1) / partition,
        ]

    guess = math.log1p(gain)
    return root(equations, [guess * weight**0.2, guess * (1 - weight) ** 0.2], tol=1e-10).x


def minimised_feature(classifier, weight):
    """Minimise the loss of one blend over its feature by L-BFGS."""
    label = torch.zeros(NUM_CLASSES, dtype=torch.float64)
    label[0], label[1] = weight, 1 - weight

    def objective(flat):
        feature = torch.from_numpy(flat)
        logits = classifier @ feature
        value = torch.logsumexp(logits, 0) - label @ logits + PENALTY / 2 * feature @ feature
        return float(value), (classifier.T @ (torch.softmax(logits, 0) - label) + PENALTY * feature).numpy()

    start = torch.zeros(classifier.shape[1], dtype=torch.float64).numpy()
    return minimize(objective, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-10, "ftol": 0.0}).x


def naive_scale():
    """Balance the two energies with adaptive quadrature over single blends."""

    def imbalance(scale):
        gain = scale**2 * NUM_CLASSES / ((NUM_CLASSES - 1) * PENALTY)

        def square(weight):
            x1, x2 = naive_pair(weight, gain)
            return x1**2 + x2**2 - (x1 + x2) ** 2 / NUM_CLASSES

        layers = [1 / gain, 10 / gain, 100 / gain, 0.01, 0.1]
        mixed = 2 * quad(lambda w: beta.pdf(w, 1, 1) * square(w), 0, 0.5, points=layers, epsrel=1e-7, limit=200)[0]
        mean = square(1.0) / NUM_CLASSES + (1 - 1 / NUM_CLASSES) * mixed
        return scale**4 - (NUM_CLASSES - 1) * mean / NUM_CLASSES**2

    return brentq(imbalance, 1.0, 3.0, xtol=1e-6)


def naive_fit(x1, x2, weights):
    """Minimise the squared distance over log(a), solving blend by blend."""

    def squares(log_gain):
        pairs = np.array([naive_pair(weight, math.exp(log_gain)) for weight in weights.tolist()])
        return ((pairs - np.stack([x1, x2], axis=1)) ** 2).sum()

    return minimize_scalar(squares, bounds=(2.0, 15.0), method="bounded", options={"xatol": 1e-6}).x


def main():
    arguments = parse_arguments(__doc__)
    repetitions = 2 if arguments.quick else 15
    num_weights, num_naive = (10_000, 50) if arguments.quick else (100_000, 500)
    num_points, num_few = (1_000, 100) if arguments.quick else (20_000, 1_000)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(num_weights, dtype=torch.float64, generator=generator)
    classifier = simplex_etf(NUM_CLASSES, 64, scale=SCALE, generator=generator)
    points = mixup_points(weights[:num_points], math.log(GAIN), NUM_CLASSES)[0]
    points = points + 0.5 * torch.randn(points.shape, dtype=torch.float64, generator=generator)
    few = slice(0, num_few)
    dense = torch.rand(1, 10**5 if arguments.quick else 10**6, dtype=torch.float64, generator=generator) ** 8
    dense = dense / dense.sum()
    settings = {"classifier_penalty": PENALTY, "feature_penalty": PENALTY}

    # name -> (function, how many blends or fits of how many points it does, how many naive ones)
    ours = {
        "features of blends": lambda: mixup_features(NUM_CLASSES, weights, feature_penalty=PENALTY, scale=SCALE),
        "a dense label of a million classes": lambda: soft_label_logits(dense, num_classes=dense.shape[1], gain=1e6),
        "joint optimum, beta law": lambda: classifier_scale(NUM_CLASSES, **settings, law=BetaLaw(1.0)),
        "fit of the gain": lambda: fit_mixup_channel(*points, weights[:num_points], num_classes=NUM_CLASSES),
        "fit of the gain, few points": lambda: fit_mixup_channel(
            *points[:, few], weights[few], num_classes=NUM_CLASSES
        ),
    }
    naive = {
        "blend by blend, scipy root": lambda: [naive_pair(weight) for weight in weights[:num_naive].tolist()],
        "blend by blend, L-BFGS": lambda: [minimised_feature(classifier, w) for w in weights[:num_naive].tolist()],
        "joint optimum, scipy quad over root": naive_scale,
        "fit of few points, scipy over root": lambda: naive_fit(*points[:, few], weights[few]),
    }
    found = {name: measure(function, repetitions) for name, function in ours.items()}
    slow = {name: measure(function, min(repetitions, 3)) for name, function in naive.items()}
    per_blend = found["features of blends"]["median"] / num_weights
    ratios = {
        "blends, against scipy root": slow["blend by blend, scipy root"]["median"] / num_naive / per_blend,
        "blends, against L-BFGS": slow["blend by blend, L-BFGS"]["median"] / num_naive / per_blend,
        "joint optimum": slow["joint optimum, scipy quad over root"]["median"]
        / found["joint optimum, beta law"]["median"],
        "fit": slow["fit of few points, scipy over root"]["median"] / found["fit of the gain, few points"]["median"],
    }
    for name, values in {**found, **slow}.items():
        print(f"  {values['median']:10.1f} ms  {name}")
    for name, ratio in ratios.items():
        print(f"  {ratio:10.0f} x   {name}")
    counts = {"weights": num_weights, "naive_weights": num_naive, "points": num_points, "few_points": num_few}
    write_result(
        "theory_mixup_features",
        {"counts": counts, "milliseconds": found, "naive_milliseconds": slow, "ratios": ratios},
        out=arguments.out,
        notes=["one thread", f"K = {NUM_CLASSES}, penalties {PENALTY}", "ratios compare the time of one blend or fit"],
    )


if __name__ == "__main__":
    main()
