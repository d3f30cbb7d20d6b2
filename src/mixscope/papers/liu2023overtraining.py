"""Liu et al. 2023: training with mixup for too long hurts. Claims first, then runs, figures, deviations."""

from mixscope.papers.liu2023_claims_features import CHECKS as FEATURE_CHECKS
from mixscope.papers.liu2023_claims_labels import CHECKS as LABEL_CHECKS
from mixscope.papers.liu2023_claims_networks import CHECKS as NETWORK_CHECKS
from mixscope.papers.liu2023_claims_simulated import CHECKS as SIMULATED_CHECKS
from mixscope.papers.liu2023_figures import network_chapters
from mixscope.papers.liu2023_pictures import simulation_chapters
from mixscope.papers.liu2023_runs import liu_trials
from mixscope.papers.results import Results
from mixscope.papers.study import Study
from mixscope.report.document import Chapter

DEVIATIONS = (
    "Networks and images are far smaller than the paper's: an MLP on 100 to 500 digits, and a convnet of four layers "
    "on 500 images of Fashion-MNIST or CIFAR-10, in place of ResNet-18 and ResNet-34 on CIFAR-10, CIFAR-100 and SVHN.",
    "The learning rate is constant and set by a pilot on other seeds; the paper is recalled to lower it in steps.",
    "Runs on 500 images last 120 epochs (Fashion-MNIST) or 90 (CIFAR-10), which is 1,200 and 900 steps; the paper is "
    "recalled to train far longer, so that a turn that is not seen here may come later.",
    "Networks on images compute their layers in bfloat16, with weights in float32.",
    "With the squared error the learning rate is 0.02 in place of 0.05, at which training diverges.",
    "Curves are the test error after the epoch itself; the paper is recalled to show it at the epoch of the lowest "
    "training loss so far.",
    "Best points are taken of the curve averaged over three looks, so that they are not low by luck alone.",
    "Theorem 5.1 is stated for drawn labels: for the most probable labels, as recalled of the paper, it does not hold.",
    "Where CIFAR-10 comes from images that went through JPEG, errors need not equal those on the original files.",
    "Intrusion is judged by the nearest image; the study's seeds draw the pairs, not the images, there.",
)
UNKNOWN = (
    "learning-rate schedule, weight decay, batch size",
    "number of epochs for each set, which subsets are in which figure",
    "number of seeds and how intervals were made",
    "sizes of the teacher-student simulation",
    "whether Theorem 5.1 is about the most probable or about drawn labels",
    "whether Theorem 5.2 is in the mean over starts",
    "on which loss the landscape is drawn, of mixup or of clean images",
    "all numbers in tables",
)


def _chapters(results: Results) -> list[Chapter]:
    return [*network_chapters(results), *simulation_chapters(results)]


STUDY = Study(
    key="liu2023",
    title="Over-training with mixup",
    citation="Zixuan Liu, Ziqiao Wang, Hongyu Guo, Yongyi Mao: Over-Training with Mixup May Hurt Generalization. "
    "ICLR 2023, arXiv 2303.01475",
    checks=(*NETWORK_CHECKS, *SIMULATED_CHECKS, *FEATURE_CHECKS, *LABEL_CHECKS),
    trials=liu_trials,
    chapters=_chapters,
    deviations=DEVIATIONS,
    unknown=UNKNOWN,
)
