"""The page on random features: why training on blends may turn from help to harm, and when."""

import torch
from torch import Tensor

from mixscope.report.document import Chapter, Exhibit, Listing, Series
from mixscope.theory.random_features.feature_experiment import (
    FeatureExperiment,
    FeatureSetting,
    RiskCurves,
    random_feature_experiment,
)
from mixscope.theory.random_features.teachers import two_layer_teacher
from mixscope.theory_pages.page_parts import TheoryPage, number, told_on_the_page
from mixscope.theory_pages.theory_options import RandomFeaturesOptions
from mixscope.theory_pages.turning_chapters import bound_chapter, modes_chapter

SOURCE = "Source: after Liu et al. 2023 (teacher, student and switch); sizes, clean twin and feature blends are ours."
TIMES = torch.cat([torch.logspace(-1, 8, 181, dtype=torch.float64), torch.tensor([torch.inf], dtype=torch.float64)])
SIZE_FACTORS = (0.75, 1.0, 1.5, 2.5, 4.0)
MOST_EXAMPLES = 100  # in the table: blends are the square of it
TABLE_ALPHAS = (0.1, 0.2, 0.5, 1.0, 2.0, 8.0)
TABLE_SEEDS = 10
BANDS = ("mixup", "mixup with clean labels")
SHOWN_TIMES = (1.0, 1e6)
TIME = "time (learning rate × steps)"
RISK = "test risk, squared error"


def random_features_page(options: RandomFeaturesOptions) -> TheoryPage:
    """Run the teacher and student and return the page about them.

    Args:
        options: Sizes and laws.
    """
    setting = FeatureSetting(
        num_examples=options.num_examples,
        input_dim=options.input_dim,
        num_features=options.num_features,
        alpha=options.alpha,
    )
    with told_on_the_page():
        experiment = _run(setting, options.seeds)
        outside = random_feature_experiment(
            setting,
            draw_teacher=two_layer_teacher,
            num_repetitions=options.seeds,
            times=TIMES,
            generator=torch.Generator().manual_seed(0),
        )
        methods, settings = _method_listing(experiment), _setting_listing(setting, min(options.seeds, TABLE_SEEDS))
        chapters = [
            _risk_chapter(experiment, methods),
            _distance_chapter(experiment),
            _setting_chapter(settings),
            modes_chapter(setting),
            bound_chapter(setting),
            _outside_chapter(outside),
        ]
    return TheoryPage(
        title="When training on blends turns from help to harm",
        lead=_lead(experiment),
        facts=f"{options.num_examples} examples ({options.num_examples**2} blends) of {options.input_dim} dimensions, "
        f"{options.num_features} tanh features, weights from Beta({options.alpha:g}, {options.alpha:g}), "
        f"{_repetitions(options.seeds)}. All times from one decomposition; nothing is simulated.",
        chapters=chapters,
        tables=[("Test risk over time (medians)", methods), ("Sizes and weights (medians, mixup)", settings)],
    )


def _run(setting: FeatureSetting, seeds: int) -> FeatureExperiment:
    return random_feature_experiment(
        setting, num_repetitions=seeds, times=TIMES, generator=torch.Generator().manual_seed(0)
    )


def _repetitions(seeds: int) -> str:
    return "one repetition" if seeds == 1 else f"{seeds} repetitions"


def _median(values: Tensor) -> float:
    return float(values.quantile(0.5))


def _lead(experiment: FeatureExperiment) -> str:
    mixup, plain = experiment.mixup, experiment.plain
    turning, clean = int(mixup.is_u_shaped.sum()), int(experiment.clean.is_u_shaped.sum())
    kinds = f"{turning} of {len(mixup.risks)} repetitions"
    if not turning:
        return (
            f"At these sizes the test risk of mixup does not turn: it rises by more than 5% in {kinds}. Fewer examples "
            "or more features make the labels' errors matter."
        )
    return (
        f"Trained on blends, the test risk falls, turns at time {number(_median(mixup.best_times), digits=3)} (median) "
        f"and ends {_median(mixup.rises):.2f} times its best: a U in {kinds}, against "
        f"{clean} where the same blends have the labels of nature. Trained on the examples alone it ends "
        f"{_median(plain.rises):.2f} times its best. "
        "In a network, look for a test error that rises again late in training with mixup, sooner with less data, and "
        "for the cure: stop mixing."
    )


def _median_series(name: str, values: Tensor, place: int, *, has_band: bool) -> Series:
    """Return the median over repetitions, without the infinite time; as a band the middle half of them."""
    low, middle, high = (values[:, :-1].quantile(level, dim=0).tolist() for level in (0.25, 0.5, 0.75))
    low, high = (low, high) if has_band else ([], [])
    return Series(name, TIMES[:-1].tolist(), middle, low=low, high=high, colour=place)


def _methods(experiment: FeatureExperiment) -> dict[str, RiskCurves]:
    return {
        "mixup": experiment.mixup,
        "no mixing (ERM)": experiment.plain,
        "mixup with clean labels": experiment.clean,
        "mixup of features": experiment.feature_blends,
        "mixup, then none from this time on": experiment.switched,
    }


def _risk_chapter(experiment: FeatureExperiment, listing: Listing) -> Chapter:
    curves = [
        _median_series(name, curves.risks, place, has_band=name in BANDS)
        for place, (name, curves) in enumerate(_methods(experiment).items())
    ]
    start, end = _median(experiment.mixup.risks[:, 0]), _median(experiment.mixup.end)
    exhibit = Exhibit(
        "risks",
        "Test risk over training",
        curves,
        x_title=TIME,
        y_title=RISK,
        log_x=True,
        x_range=SHOWN_TIMES,
        y_range=(0, max(1.5 * end, min(1.05 * start, 2.5 * end))),
        is_wide=True,
    )
    text = (
        "A student on fixed features learns a teacher that it could copy exactly. Look for mixup's line to fall first "
        "and rise later, for the clean labels on the same blends to take the rise away, and for blends of features to "
        "lie on the line of no mixing: there the labels of blends are right. The switching line shows the final risk "
        "when mixing stops at that time: best in between, not too late."
    )
    notes = [
        SOURCE,
        "Lines are medians, bands (mixup with both labels) the middle half of the repetitions. The teacher lies in "
        "the span of the features, so that the labels of blends are the only error that training can fit.",
    ]
    return Chapter("risk", "A fall and a rise", text, [exhibit], listing, notes)


def _method_listing(experiment: FeatureExperiment) -> Listing:
    rows = [
        [
            name,
            number(_median(curves.best_times), digits=3),
            number(_median(curves.smallest), digits=3),
            number(_median(curves.end), digits=3),
            f"{int(curves.is_u_shaped.sum())} of {len(curves.risks)}",
        ]
        for name, curves in _methods(experiment).items()
    ]
    return Listing(["training", "best time", "risk then", "risk at the end", "rises by over 5%"], rows)


def _distance_chapter(experiment: FeatureExperiment) -> Chapter:
    series = []
    paths = {"mixup": experiment.distances, "mixup with clean labels": experiment.clean_distances}
    for place, (name, distances) in zip((0, 2), paths.items(), strict=True):
        series.append(_median_series(name, distances, place, has_band=True))
    exhibit = Exhibit(
        "distances",
        "Distance from θ*",
        series,
        x_title=TIME,
        y_title="|θ − θ*|",
        log_x=True,
        x_range=SHOWN_TIMES,
        is_wide=True,
    )
    text = (
        "θ* is where training on the same blends with the right labels would end. Look for mixup to approach it and "
        "then leave for the solution that fits the wrong labels too; with clean labels the distance never rises, which "
        "is the safer sign of the two: test risk can rise for other reasons."
    )
    notes = [
        f"Standard deviation of the labels' error over the blends: {number(_median(experiment.label_noise), digits=3)} "
        "(median). Derived; after Liu et al. 2023, Lemma 5.1."
    ]
    return Chapter("distance", "What is learned by heart", text, [exhibit], notes=notes)


def _setting_listing(setting: FeatureSetting, seeds: int) -> Listing:
    sizes = sorted({max(2, round(factor * setting.num_examples)) for factor in SIZE_FACTORS})
    sizes = [size for size in sizes if size <= max(MOST_EXAMPLES, setting.num_examples)]
    settings = [(size, setting.alpha) for size in sizes]
    settings += [(setting.num_examples, alpha) for alpha in TABLE_ALPHAS if alpha != setting.alpha]
    rows = []
    for size, alpha in settings:
        varied = FeatureSetting(
            num_examples=size, input_dim=setting.input_dim, num_features=setting.num_features, alpha=alpha
        )
        curves = _run(varied, seeds).mixup
        rows.append(
            [
                f"{size} examples, alpha {alpha:g}",
                number(_median(curves.best_times), digits=3),
                number(_median(curves.smallest), digits=3),
                number(_median(curves.end), digits=3),
                f"{_median(curves.rises):.2f}",
                f"{int(curves.is_u_shaped.sum())} of {seeds}",
            ]
        )
    columns = ["setting", "best time", "risk then", "risk at the end", "end / best", "rises by over 5%"]
    return Listing(columns, rows)


def _setting_chapter(listing: Listing) -> Chapter:
    text = (
        "Look down the rows of one alpha: with more examples expect a later turn and a smaller rise. Look down the "
        "others: a small alpha makes weaker blends, and yet the larger rise, for the directions in which blends hardly "
        "differ from examples magnify the labels' errors most."
    )
    notes = ["Measured in this model; it says nothing about times in a network, only about what they depend on."]
    return Chapter("settings", "What it depends on", text, listing=listing, notes=notes)


def _outside_chapter(experiment: FeatureExperiment) -> Chapter:
    curves = [
        _median_series(name, curves.risks, place, has_band=name in BANDS)
        for place, (name, curves) in enumerate(list(_methods(experiment).items())[:3])
    ]
    exhibit = Exhibit(
        "outside-risks", "Test risk over training", curves, TIME, RISK, log_x=True, is_wide=True, x_range=SHOWN_TIMES
    )
    clean, repetitions = int(experiment.clean.is_u_shaped.sum()), len(experiment.clean.risks)
    text = (
        "The same with a teacher that the features cannot express. Look for the clean labels to turn as well, in "
        f"{clean} of {repetitions} repetitions here: a test risk that rises does not by itself prove that the labels "
        "are at fault."
    )
    return Chapter("outside", "A teacher out of reach", text, [exhibit], notes=["A control, measured here."])
