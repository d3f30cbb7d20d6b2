"""Figures on their own, from runs and from their folders."""

import json
import subprocess
import sys

import plotly.graph_objects as go
import pytest
from synthetic_runs import synthetic_run, synthetic_runs

from mixscope import figures
from mixscope.base.errors import UserError


def write_run(run, folder):
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(run.record))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in run.metrics))
    (folder / "pictures.json").write_text(json.dumps(run.pictures))
    return folder


def test_every_figure_is_drawn_from_runs_with_a_title_and_a_key():
    runs = synthetic_runs(num_seeds=2)
    drawn = [
        figures.curves(runs, "test/error"),
        figures.curves(runs, "nc/nc1_pinv"),
        figures.reliability(runs),
        figures.channels(runs[0]),
        figures.plane(runs[0]),
        figures.layers(runs),
        figures.layers(runs, "relative_defect"),
    ]
    for figure in drawn:
        assert isinstance(figure, go.Figure)
        assert figure.layout.title.text
        named = [trace.name for trace in figure.data if trace.showlegend is not False]
        assert len(named) == len(set(named)) > 1
    names = {trace.name for trace in drawn[0].data if trace.showlegend is not False}
    assert names == {"erm", "mixup", "mixup, then off"}


def test_folders_are_read_and_one_run_needs_no_list(tmp_path):
    run = synthetic_run()
    folder = write_run(run, tmp_path / "run")
    assert figures.curves([folder], "test/error") == figures.curves(run, "test/error")
    assert figures.plane(str(folder)) == figures.plane(run)


def test_what_runs_lack_is_said(tmp_path):
    bare = synthetic_run(epochs=[1], has_pictures=False)
    with pytest.raises(ValueError, match="runs must hold test/error at two epochs or more, but none does"):
        figures.curves(bare, "test/error")
    for draw, what in ((figures.plane, "blends on a plane"), (figures.channels, "blends of two classes")):
        with pytest.raises(ValueError, match=f"runs must hold {what}, but none does"):
            draw(bare)
    with pytest.raises(ValueError, match="key must be a metric of the catalogue, got 'test/eror'"):
        figures.curves(bare, "test/eror")
    with pytest.raises(ValueError, match="key must be a metric of the catalogue"):
        figures.layers(bare, "bending")
    with pytest.raises(ValueError, match="runs must hold at least one run, got none"):
        figures.reliability([])
    with pytest.raises(UserError, match="must be a run folder"):
        figures.reliability(tmp_path)


def test_importing_figures_loads_neither_torch_nor_plotly():
    code = "import sys, mixscope.figures; print({'torch', 'plotly'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
