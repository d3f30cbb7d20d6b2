"""Figures in loggers: TensorBoard's pictures and the plotly figures of Weights & Biases, from every place that logs."""

import sys
import warnings
from types import ModuleType, SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from accelerate import Accelerator
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter
from trainer_cases import D, K, Network, make_trainer
from transformers.integrations import WandbCallback

import mixscope
from mixscope.integrations.figure_logging import log_figures, log_report
from mixscope.integrations.lightning import MixscopeCallback
from mixscope.integrations.transformers import MixscopeTrainerCallback
from mixscope.report import logged_figures
from mixscope.report.figures.matplotlib_drawing import draw_with_matplotlib

FIGURES = {"figures/reliability_diagram", "figures/plane"}


@pytest.fixture(scope="module")
def report():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(90, 6, generator=generator)
    labels = inputs[:, :3].argmax(dim=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    names = ["<b>cats</b> & dogs", "$x_1$", "three"]
    return mixscope.measure(model, head="2", train=(inputs, labels), test=(inputs, labels), class_names=names)


class StandInRun:
    """What is documented of a run: `log(data, step=None)`; plotly figures are taken as they are."""

    def __init__(self):
        self.logged = []

    def log(self, data, step=None):
        self.logged.append((data, step))


@pytest.fixture
def run(monkeypatch):
    """Return a stand-in for the run of a package that is not installed here."""
    kind = type("Run", (StandInRun,), {"__module__": "wandb.sdk.wandb_run"})
    module = ModuleType("wandb")
    module.run = kind()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module.run


def images_in(folder):
    events = EventAccumulator(str(folder)).Reload()
    return {name: [event.step for event in events.Images(name)] for name in events.Tags()["images"]}


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


def test_a_drawing_has_what_the_page_has(report):
    figures = logged_figures.figures_of(report.pictures)
    assert set(figures) == FIGURES
    diagram, plane = (
        draw_with_matplotlib(figures[name].plot, title=figures[name].title) for name in sorted(FIGURES)[::-1]
    )
    upper, lower = diagram.axes
    assert (upper.get_ylabel(), lower.get_ylabel(), lower.get_xlabel()) == ("accuracy", "examples", "confidence")
    counts = report.pictures["reliability"]["count"]
    assert [bar.get_height() for bar in lower.patches] == counts
    filled = [place for place, count in enumerate(counts) if count]
    line = next(line for line in upper.lines if len(line.get_xdata()) == len(filled) and line.get_linestyle() == "-")
    assert list(line.get_ydata()) == [report.pictures["reliability"]["accuracy"][place] for place in filled]
    (panel,) = plane.axes
    num_points = sum(len(report.pictures["plane"][kind]["x"]) for kind in ("same", "different"))
    assert sum(len(cloud.get_offsets()) for cloud in panel.collections) == num_points + 3  # and three crosses
    names = {report.pictures["plane"]["class_names"][place] for place in range(3)}
    assert {text.get_text() for text in panel.texts} >= {name for name in names if len(name) <= 12}
    # Blends of one class are red, of two blue: both are to be seen.
    red, blue = (200, 16, 46), (11, 92, 173)
    shown = pixels(plane).reshape(-1, 3)
    for colour in (red, blue):
        assert (abs(shown - colour).sum(axis=1) < 60).any()


def test_drawing_leaves_pyplot_and_its_settings_alone(report, tmp_path):
    before, open_figures = dict(plt.rcParams), plt.get_fignums()
    with SummaryWriter(tmp_path) as writer:
        log_figures([writer], report.pictures, step=0)
    assert plt.get_fignums() == open_figures
    assert dict(plt.rcParams) == before


def test_a_report_goes_into_a_writer_with_numbers_and_figures(report, tmp_path):
    with SummaryWriter(tmp_path) as writer:
        log_report(report, writer, step=4)
    assert images_in(tmp_path) == {key: [4] for key in FIGURES}
    events = EventAccumulator(str(tmp_path)).Reload()
    for key, value in report.values.items():
        (event,) = events.Scalars(key)
        assert (event.step, event.value) == (4, pytest.approx(value, rel=1e-6, nan_ok=True))


def test_a_report_goes_into_a_run_at_one_step(report, run):
    log_report(report, run, step=4)
    (numbers, first), (figures, second) = run.logged
    assert (first, second) == (4, 4)
    assert numbers == report.values
    assert set(figures) == FIGURES
    assert all(isinstance(figure, go.Figure) for figure in figures.values())


def test_a_report_goes_into_the_trackers_of_accelerate(report, tmp_path):
    accelerator = Accelerator(log_with="tensorboard", project_dir=tmp_path, cpu=True)
    accelerator.init_trackers("trial")
    log_report(report, accelerator.trackers, step=2)
    accelerator.get_tracker("tensorboard").finish()
    assert images_in(tmp_path / "trial") == {key: [2] for key in FIGURES}


def test_a_run_that_counts_its_own_steps_gets_the_step_as_a_number(report, run):
    log_figures([object(), run], report.pictures, step=7, step_key="trainer/global_step")
    ((figures, step),) = run.logged
    assert step is None
    assert figures.pop("trainer/global_step") == 7
    assert set(figures) == FIGURES


def test_loggers_of_lightning_get_figures_where_they_take_them(report, run, tmp_path):
    board = TensorBoardLogger(tmp_path, name="", version="")
    weights = SimpleNamespace(experiment=run)
    log_figures([board, CSVLogger(tmp_path / "csv"), weights], report.pictures, step=5, step_key="trainer/global_step")
    board.experiment.close()
    assert images_in(tmp_path) == {key: [5] for key in FIGURES}
    assert len(run.logged) == 1


def test_what_takes_no_figures_is_told_or_passed_over(report):
    with pytest.raises(ValueError, match=r"logger must be a SummaryWriter, a run of wandb, .* got a list_iterator"):
        log_report(report, iter([]), step=0)
    log_report(report, [object()], step=0)


def test_a_missing_matplotlib_is_said_once(report, tmp_path, monkeypatch):
    monkeypatch.setattr(logged_figures, "can_draw", lambda: False)
    logged_figures._say_once.cache_clear()
    with SummaryWriter(tmp_path) as writer:
        with pytest.warns(UserWarning, match="TensorBoard gets no figures, .* pip install matplotlib"):
            log_figures([writer], report.pictures, step=0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            log_figures([writer], report.pictures, step=1)
    assert images_in(tmp_path) == {}


def test_a_trainer_shows_the_figures_of_every_measurement(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer = make_trainer(Network(), out=tmp_path, report_to="tensorboard")
    trainer.add_callback(MixscopeTrainerCallback(trainer, head="head"))
    trainer.train()
    # With 24 training examples there are too few blends for the plane.
    assert images_in(tmp_path / "board") == {"figures/reliability_diagram": [3, 6]}
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [event.step for event in events.Scalars("eval/test/ece")] == [3, 6]


def test_a_trainer_hands_figures_to_weights_and_biases_beside_its_own_step(tmp_path, run, monkeypatch):
    class Reporter(WandbCallback):
        def __init__(self):
            self._wandb = None

        def setup(self, *arguments, **others): ...

        on_train_begin = on_log = on_train_end = on_save = setup

    trainer = make_trainer(Network(), Reporter(), out=tmp_path, epochs=1)
    trainer.add_callback(MixscopeTrainerCallback(trainer, head="head"))
    trainer.train()
    ((logged, step),) = run.logged
    assert step is None
    assert logged["train/global_step"] == 3
    assert isinstance(logged["figures/reliability_diagram"], go.Figure)


class Module(LightningModule):
    def __init__(self):
        super().__init__()
        self.network = Network()

    def forward(self, inputs):
        return self.network(inputs)

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx): ...

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning:lightning")
@pytest.mark.filterwarnings("ignore:The '(train|val)_dataloader' does not have many workers")
def test_a_fit_of_lightning_shows_the_figures_of_every_measurement(tmp_path):
    inputs = torch.randn(90, D, generator=torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(inputs, inputs[:, :K].argmax(dim=1)), batch_size=30)
    board = TensorBoardLogger(tmp_path, name="", version="")
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    callback = MixscopeCallback(head="network.head")
    trainer = Trainer(max_epochs=2, accelerator="cpu", logger=board, callbacks=[callback], log_every_n_steps=1, **quiet)
    trainer.fit(Module(), loader, loader)
    board.experiment.close()
    shown = images_in(tmp_path)
    assert set(shown) == FIGURES
    assert all(len(steps) == 2 for steps in shown.values())
