"""Trials of methods times seeds on one setting."""

from collections.abc import Callable, Iterable, Mapping

from mixscope.studies.engine.trial import Trial, Work


def run_grid(
    setting: str, methods: Iterable[str], num_seeds: int, make_work: Callable[[str, int], Work]
) -> list[Trial]:
    """Return the trials of a setting, all methods of a seed before the next seed.

    Args:
        setting: Its name.
        methods: By name.
        num_seeds: Of every method, from 0 on.
        make_work: Returns what a method does with a seed.
    """
    return [Trial(setting, method, seed, make_work(method, seed)) for seed in range(num_seeds) for method in methods]


def call_grid(setting: str, methods: Mapping[str, Callable[..., Work]], num_seeds: int) -> list[Trial]:
    """Return the same of methods that need no more than `seed`."""
    return run_grid(setting, methods, num_seeds, lambda method, seed: methods[method](seed=seed))
