"""Seconds for least squares on fixed features at 1,000 times in closed form, beside the three naive routes to it."""

import time

import torch
from _bench import parse_arguments, summarise, write_result
from scipy.integrate import solve_ivp

from mixscope.theory.labels.gaussian_classes import class_triangle
from mixscope.theory.labels.noisy_labels import label_noise_curve
from mixscope.theory.random_features.feature_experiment import random_feature_experiment
from mixscope.theory.random_features.feature_flow import random_feature_flow, squared_risk

NUM_TIMES = 1000
NUM_EXPONENTIALS = 10  # of the 1,000 that the naive route takes; their time is multiplied up
NUM_STEPS = 200  # of gradient descent, of the million that the last time takes
ODE_END = 100.0


def seconds(function, repetitions):
    """Time a function; the first call is not counted."""
    times = []
    for repetition in range(repetitions + 1):
        began = time.perf_counter()
        function()
        if repetition:
            times.append(time.perf_counter() - began)
    return summarise(times)


def main():
    arguments = parse_arguments(__doc__)
    repetitions = 1 if arguments.quick else 5
    rows, columns = (2000, 200) if arguments.quick else (10_000, 500)
    generator = torch.Generator().manual_seed(0)
    features = torch.tanh(torch.randn(rows, columns, dtype=torch.float64, generator=generator)) / columns**0.5
    targets = torch.randn(rows, dtype=torch.float64, generator=generator)
    test = torch.tanh(torch.randn(20_000, columns, dtype=torch.float64, generator=generator)) / columns**0.5
    test_targets = torch.randn(20_000, dtype=torch.float64, generator=generator)
    times = torch.logspace(-1, 6, NUM_TIMES, dtype=torch.float64)
    gram, slope = features.T @ features / rows, features.T @ targets / rows

    def closed_form():
        return random_feature_flow(features, targets).value.at(times)

    def exponentials():
        end = torch.linalg.solve(gram, slope)
        for moment in times[:: NUM_TIMES // NUM_EXPONENTIALS]:
            end - torch.linalg.matrix_exp(-moment * gram) @ end

    def descent():
        parameters = torch.zeros(columns, dtype=torch.float64)
        for _ in range(NUM_STEPS):
            parameters = parameters - (gram @ parameters - slope)

    def integrator():
        solve_ivp(
            lambda _, theta: slope.numpy() - gram.numpy() @ theta,
            (0, ODE_END),
            torch.zeros(columns).double().numpy(),
            method="DOP853",
            rtol=1e-10,
            atol=1e-12,
        )

    path = closed_form()
    risk = squared_risk(test, test_targets)
    functions = {
        f"closed form, {NUM_TIMES} times": closed_form,
        f"matrix exponentials, {NUM_EXPONENTIALS} times": exponentials,
        f"gradient descent, {NUM_STEPS} steps": descent,
        f"ODE integrator to time {ODE_END:g} of 1e6": integrator,
        "test risk: factor of 20,000 examples": lambda: squared_risk(test, test_targets),
        f"test risk at {NUM_TIMES} times from the factor": lambda: risk.of(path),
        f"test risk at {NUM_TIMES} times from the examples": lambda: (
            (path @ test.T - test_targets).square().mean(dim=1)
        ),
        "the toy, 20 repetitions, 5 curves, 442 times": lambda: random_feature_experiment(
            generator=torch.Generator().manual_seed(0)
        ),
        "label noise, 3 classes, 100,000 pairs, 11 weights": lambda: label_noise_curve(
            class_triangle(2.2),
            mixing_weights=torch.linspace(0, 1, 11),
            num_pairs=100_000,
            generator=torch.Generator().manual_seed(0),
        ),
    }
    results = {"rows": rows, "features": columns, "seconds": {}}
    for name, function in functions.items():
        results["seconds"][name] = seconds(function, repetitions)
        print(f"{results['seconds'][name]['median']:9.4f} s  {name}")
    medians = [entry["median"] for entry in results["seconds"].values()]
    results["matrix exponentials for all times, times slower"] = medians[1] * NUM_TIMES / NUM_EXPONENTIALS / medians[0]
    results["gradient descent to the last time, times slower"] = medians[2] * 1e6 / NUM_STEPS / medians[0]
    results["test risk from the examples, times slower per 1,000 times"] = medians[6] / medians[5]
    results["residual"] = random_feature_flow(features, targets).residual
    for name, value in list(results.items())[3:]:
        print(f"{value:12.4g}  {name}")
    write_result("theory_random_features", results, out=arguments.out)


if __name__ == "__main__":
    main()
