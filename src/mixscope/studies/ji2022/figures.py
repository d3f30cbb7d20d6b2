"""Figures of the study of Ji et al. 2022: the layer-peeled flow against log t."""

import math
from collections.abc import Iterator, Mapping, Sequence

from mixscope.report.document import Chapter, Exhibit, Series
from mixscope.studies.engine.results import Results, column
from mixscope.studies.engine.seed_figures import exhibit_name
from mixscope.studies.ji2022.evidence import SETTINGS
from mixscope.studies.ji2022.figures_networks import DISTANCE, mean_classifier_chapter, network_chapter

LOG_TIME = "log t, the logarithm of time"
START_NAMES = {"flow-scale-1": "start 1", "flow-scale-0.4": "start 0.4"}


def chapters(results: Results) -> list[Chapter]:
    """Return the figures of the study; settings that were not run are left out."""
    made = [_rates(results), _uncentred(results), _laws(results), _starts(results)]
    made += [network_chapter(results, setting) for setting in SETTINGS if results.methods(setting)]
    made.append(mean_classifier_chapter(results))
    return [chapter for chapter in made if chapter.exhibits]


def _rates(results: Results) -> Chapter:
    panels = {
        "lengths": ("Lengths, centred", {"nc2_equinorm_means": "means", "nc2_equinorm_weights": "rows"}, -1.0),
        "scatter": ("Scatter within classes", {"nc1_trace": "trace ratio"}, -1.0),
        "angles": (
            "Angles, centred",
            {"nc2_equiangular_means": "means", "nc2_equiangular_weights": "rows"},
            -1.0,
        ),
        "duality": ("Classifier against class means", {"nc3_duality": "distance"}, -1.0),
    }
    return Chapter(
        "flow-rates",
        "How fast the layer-peeled flow collapses",
        "The four panels of the paper's Figure 2: both axes logarithmic, and time already as its logarithm. Look for "
        "lines to run parallel to the dotted ones, which have slope −1, from about log t = 150 on: until then the "
        "slope depends on the start. Smaller starts are nearer to collapse and no faster.",
        list(_flow_panels(results, "rates", panels)),
        notes=["Lines are geometric means over starts, bands reach from the smallest to the largest start."],
    )


def _uncentred(results: Results) -> Chapter:
    panels = {
        "lengths": ("Lengths of classifier rows", {"nc2_equinorm_weights_uncentered": "not centred"}, -0.5),
        "angles": ("Angles of classifier rows", {"nc2_equiangular_weights_uncentered": "not centred"}, -0.5),
        "duality": ("Classifier against class means", {"nc3_duality_uncentered": "not centred"}, -0.5),
        "plane": ("Scatter in the plane of the means", {"nc1_pinv": "Papyan's ratio"}, -3.0),
    }
    return Chapter(
        "flow-uncentred",
        "What is not centred, and scatter in the plane of the means",
        "The mean of the classifier's rows never moves, so that without centring all falls like the square root: "
        "look for slope −1/2. Scatter counted only in the plane of the class means falls with slope −3 instead of −1.",
        list(_flow_panels(results, "uncentred", panels)),
    )


def _laws(results: Results) -> Chapter:
    names = {"margin_ratio": "margin / best", "norm_law": "norm", "loss_law": "loss", "norm_ratio": "|W|² / |H|²"}
    series = [
        line
        for place, (key, words) in enumerate(names.items())
        for line in _starts_of(results, "generic", key, words, colour=place)
    ]
    exhibits = []
    if series:
        series.append(Series("1", [1.0, max(series[0].x)], [1.0, 1.0], is_reference=True))
        exhibits.append(
            Exhibit(
                *("flow-laws", "Measured over predicted", series, LOG_TIME, "ratio"),
                log_x=True,
                is_wide=True,
                y_range=(0.4, 1.6),
                x_range=(5.0, max(series[0].x)),
            )
        )
    return Chapter(
        "laws",
        "Norm, loss and margin",
        "Look for all lines to end at 1: the squared norm grows like log t / γ, the loss falls like 1 / (4 γ t log t), "
        "classifier and features share the norm, and the margin becomes the best there is. From a start of size 1 all "
        "are further away at log t = 100 than from one of size 0.4, and get there all the same.",
        exhibits,
    )


def _starts(results: Results) -> Chapter:
    exhibits = []
    for setting, words in START_NAMES.items():
        found = [
            _path(results, setting, method, "nc3_duality", name, colour=place)
            for place, (method, name) in enumerate(
                {"generic": "generic", "symmetric": "symmetric", "decay": "generic, weight decay 0.005"}.items()
            )
        ]
        series = [line for line in found if line is not None]
        if series:
            exhibits.append(
                Exhibit(
                    *(exhibit_name("starts", setting), f"Classifier against class means, {words}", series),
                    *(LOG_TIME, DISTANCE),
                    log_y=True,
                    x_range=(0.0, 100.0),
                    y_range=(1e-14, 2.0),
                )
            )
    planar = [
        _path(results, "flow-in-a-plane", method, "margin_ratio", name, colour=place)
        for place, (method, name) in enumerate(
            {"in-the-plane": "start in the plane", "pushed-out": "pushed out by 0.3"}.items()
        )
    ]
    margins = [line for line in planar if line is not None]
    if margins:
        margins.append(Series("3/4", [1.0, max(margins[0].x)], [0.75, 0.75], is_reference=True))
        exhibits.append(
            Exhibit(
                *("starts-plane", "Four classes in a plane", margins, LOG_TIME, "margin / best"),
                log_x=True,
                y_range=(0.4, 1.02),
            )
        )
    return Chapter(
        "starts",
        "Where the slowness comes from",
        "From a symmetric start nothing that is conserved stands in the way, and collapse is a power of t: a straight "
        "line here. The upper edge of its band is a start that lingers near a saddle. With weight decay even a generic "
        "start collapses fast. A flow that starts in a plane stays at three quarters of the best margin.",
        exhibits,
    )


def _flow_panels(
    results: Results, name: str, panels: Mapping[str, tuple[str, Mapping[str, str], float]]
) -> Iterator[Exhibit]:
    for panel, (title, keys, slope) in panels.items():
        series = [
            line
            for place, (key, words) in enumerate(keys.items())
            for line in _starts_of(results, "generic", key, words, colour=place)
        ]
        if series:
            series.append(_slope_line(series[0], slope))
            yield Exhibit(f"flow-{name}-{panel}", title, series, LOG_TIME, DISTANCE, log_x=True, log_y=True)


def _starts_of(results: Results, method: str, key: str, words: str, *, colour: int) -> list[Series]:
    """Return a line for each size of the start, the smaller one dashed."""
    lines = [
        _path(results, setting, method, key, f"{words}, {start}", colour=colour, is_dashed=place > 0)
        for place, (setting, start) in enumerate(START_NAMES.items())
    ]
    return [line for line in lines if line is not None]


def _path(
    results: Results, setting: str, method: str, key: str, name: str, *, colour: int, is_dashed: bool = False
) -> Series | None:
    """Return the geometric mean over starts along log t, with a band from the smallest to the largest."""
    times: Sequence[float] = ()
    paths = []
    for outcome in results.of(setting, method).values():
        times = column(outcome, "path", "log_times")
        paths.append(column(outcome, "path", key))
    if not paths:
        return None
    records = [[value for value in values if value > 0] for values in zip(*paths, strict=True)]
    means = [math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan for values in records]
    lows, highs = ([end(values) if values else math.nan for values in records] for end in (min, max))
    return Series(name, times, means, low=lows, high=highs, colour=colour, is_dashed=is_dashed)


def _slope_line(line: Series, slope: float) -> Series:
    """Return a line of this slope that meets another at its end."""
    first, last = line.x[len(line.x) // 3], line.x[-1]
    name = f"slope {slope:g}".replace("-", "−")
    return Series(name, [first, last], [line.y[-1] * (first / last) ** slope, line.y[-1]], is_reference=True)
