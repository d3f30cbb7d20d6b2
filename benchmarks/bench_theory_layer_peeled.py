"""Seconds to follow the layer-peeled flow to a given log t, beside a plain Runge-Kutta method and gradient descent."""

import math
import time

import torch
from _bench import parse_arguments, summarise, write_result

from mixscope.theory.peeled.flow import layer_peeled_descent, layer_peeled_flow
from mixscope.theory.peeled.loss import stack, stacked_loss
from mixscope.theory.peeled.point import gaussian_start
from mixscope.theory.peeled.separation import separation_optimum
from mixscope.theory.peeled.separation_conditions import solve_separation


def seeded():
    return torch.Generator().manual_seed(0)


def plain_runge_kutta(start, log_time):
    """The flow of log L with the classical method of order 4 and steps of 1 / rho^2; returns its steps."""
    loss, state, elapsed, steps = stacked_loss(start), stack(start), 0.0, 0

    def slope(state, elapsed):
        descent = loss.descent(state)[1]
        return descent, 1 - float((descent * descent).sum()) * elapsed

    while True:
        step = 1 / float((state * state).sum())
        first, first_time = slope(state, elapsed)
        second, second_time = slope(state + step / 2 * first, elapsed + step / 2 * first_time)
        third, third_time = slope(state + step / 2 * second, elapsed + step / 2 * second_time)
        fourth, fourth_time = slope(state + step * third, elapsed + step * third_time)
        state = state + step / 6 * (first + 2 * second + 2 * third + fourth)
        elapsed += step / 6 * (first_time + 2 * second_time + 2 * third_time + fourth_time)
        steps += 1
        if math.log(elapsed) - loss.relative_slope(state)[0] >= log_time:
            return steps


def seconds(function, repetitions):
    """Seconds of each call, and what the last one returned."""
    times = []
    for _ in range(repetitions):
        began = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - began)
    return summarise(times), result


def main():
    arguments = parse_arguments(__doc__)
    torch.set_num_threads(1)
    repetitions = 1 if arguments.quick else 5
    start = gaussian_start([5] * 4, dim=8, generator=seeded())
    shared = 100.0 if arguments.quick else 1000.0
    results = []

    def note(name, values, **facts):
        print(f"{values['median']:10.4f} s  {name}  {facts}")
        results.append({"name": name, "seconds": values, **facts})
        return values["median"]

    for log_time in (shared, 10_000.0):
        grid = torch.linspace(log_time / 100, log_time, 100, dtype=torch.float64)
        values, solution = seconds(lambda grid=grid: layer_peeled_flow(start, log_times=grid), repetitions)
        ours = note(
            f"flow to log t = {log_time:g}, 100 records", values, steps=solution.iterations, drift=solution.residual
        )
        if log_time == shared:
            values, steps = seconds(lambda: plain_runge_kutta(start, shared), 1 if arguments.quick else 3)
            naive = note(f"classical Runge-Kutta, steps of 1 / rho^2, to log t = {shared:g}", values, steps=steps)
            results.append({"name": "ratio", "classical over ours": naive / ours})
            print(f"ratio {naive / ours:.1f}")

    steps = [10_000]
    values, solution = seconds(
        lambda: layer_peeled_descent(start, learning_rate=0.1, record_steps=steps), 1 if arguments.quick else 3
    )
    note("gradient descent, 10,000 steps of 0.1", values, log_time=float(solution.value.log_times[-1]))

    values, _ = seconds(lambda: separation_optimum(4, 3), repetitions)
    closed = note("separation optimum in closed form, K = 4, n = 3", values)
    values, found = seconds(lambda: solve_separation([3] * 4, dim=6, num_starts=1, generator=seeded()), repetitions)
    solver = note("the same by sequential quadratic programming", values, residual=found.residual)
    results.append({"name": "ratio", "solver over closed form": solver / closed})
    write_result("theory_layer_peeled", results, out=arguments.out, notes=["K = 4, D = 8, n = 5, one thread"])


if __name__ == "__main__":
    main()
