"""Small pieces of work for the tests of the framework; importable, so that other processes can run them."""

import os
import signal
import time
from dataclasses import dataclass

from mixscope.base.errors import UserError
from mixscope.report.figures.line_figure import Axes, Line, line_figure
from mixscope.report.page import Section
from mixscope.studies.engine.claim_checks import at_least, claim_check
from mixscope.studies.engine.evidence_sources import difference, value
from mixscope.studies.engine.results import Results, read_results
from mixscope.studies.engine.runner import pending, run_pending
from mixscope.studies.engine.study_definition import Study, check_study
from mixscope.studies.engine.trial import Measured, Outcome, Trial


@dataclass(frozen=True)
class Doubling:
    """Twice a number; leaves a file behind for every time it is run."""

    number: float
    seen: str
    seconds: float = 0.0

    def describe(self):
        return {"kind": "doubling", "number": self.number}

    def run(self):
        time.sleep(self.seconds)
        with open(self.seen, "a") as file:
            file.write(f"{self.number}\n")
        return Measured({"twice": 2 * self.number}, {"curve": {"epoch": [0, 1], "height": [self.number, None]}})


@dataclass(frozen=True)
class Impossible:
    """Work that lacks something the user must give."""

    def describe(self):
        return {"kind": "impossible"}

    def run(self):
        raise UserError("data must be there, but they are not")


@dataclass(frozen=True)
class Interrupted:
    """The user presses Ctrl-C while this runs."""

    def describe(self):
        return {"kind": "interrupted"}

    def run(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        return Measured({})


@dataclass(frozen=True)
class Named:
    """Work that is never done."""

    name: str

    def describe(self):
        return {"name": self.name}


def outcome(values=None, *, tables=None, pictures=None, problem=""):
    """Return what a run gave that was never done."""
    return Outcome(
        values=values or {},
        tables=tables or {},
        pictures=pictures or {},
        problem=problem,
        data={},
        environment={},
        started="2026-01-01T00:00:00+00:00",
        wall_seconds=0.0,
    )


def results_of(outcomes):
    """Return the results of such runs: (setting, method, seed) -> outcome."""
    trials = {place: Trial(*place, Named(" ".join(map(str, place)))) for place in outcomes}
    return Results([*trials.values()], {trials[place].digest: outcomes[place] for place in outcomes})


def smoke_results(study, folder):
    """Run the smoke scale of a study."""
    trials = check_study(study, study.trials("smoke", None))
    told = []
    run_pending(trials, folder, num_jobs=1, tell=told.append)
    assert [progress.error for progress in told] == [""] * len(told)
    assert not pending(trials, folder)
    return read_results(trials, folder)


def assert_every_claim_has_its_runs(study, scale):
    """A run that is not done is missing by name; evidence that asks for a method that is not run misses nothing."""
    trials = check_study(study, study.trials(scale, None))
    results, run = Results(trials, {}), {trial.setting for trial in trials}
    for check in study.checks:
        settings = [setting for setting in check.settings if setting in run]
        assert settings, check.claim.key
        for setting in settings:
            assert check.evidence(results, setting).missing, (check.claim.key, setting)


def doubling_trials(seen, num_seeds=4):
    return [
        Trial("line", method, seed, Doubling(seed + offset, str(seen)))
        for seed in range(num_seeds)
        for method, offset in (("low", 0.0), ("high", 10.0 + 0.1 * seed))
    ]


def check(test, *, key="1", settings=("line",), **options):
    words = {"statement": "High is above low.", "measured": "twice the number"}
    return claim_check(study="sample", key=key, settings=settings, test=test, **words, **options)


def doubling_study(seen):
    return Study(
        key="sample",
        title="Numbers & doubles",
        citation="Nobody 2000.",
        checks=(
            check(at_least(19.0, difference("high", "low", "twice"))),
            check(at_least(0.0, value("low", "twice")), key="2", settings=("line", "plane"), is_exact=True),
        ),
        trials=lambda scale, seeds: doubling_trials(seen, seeds or 4),
        sections=lambda results: [
            Section(
                "picture", "A line", "Look.", [line_figure("line", "Line", [Line("a", [0, 1], [0, 1])], Axes("x", "y"))]
            )
        ],
        deviations=("None of it is real.",),
    )
