"""Liu et al. 2023: training with mixup for too long hurts.

Claims first (`claims_networks`, `_simulated`, `_features`, `_labels`), then the runs at every scale (`runs`, `images`,
with simulations in `simulations`, `flow` and `labels`), then figures (`figures` of networks, `pictures` of
simulations).
"""

from mixscope.report.page import Section
from mixscope.studies.engine.results import Results
from mixscope.studies.engine.study_definition import Study
from mixscope.studies.liu2023 import claims_features, claims_labels, claims_networks, claims_simulated
from mixscope.studies.liu2023.figures import network_sections
from mixscope.studies.liu2023.runs import liu_trials
from mixscope.studies.liu2023.simulation_figures import simulation_sections

DEVIATIONS = (
    "Of the paper only the abstract, the opening of the introduction and a caption (ResNet-18 on CIFAR-10) were read: "
    "claims are from these or from a summary by others, or marked as recalled or derived.",
    "Networks and images at the small scale are far smaller than the paper's: an MLP on 100 to 500 digits, and a "
    "four-layer convolutional network on 500 images of Fashion-MNIST or CIFAR-10, each with and without crops and "
    "flips. The medium scale trains the same MLP, and ResNet-18 on 5,000 images of CIFAR-10. The paper is recalled to "
    "train on CIFAR-100 and SVHN too, on CIFAR-100 with ResNet-34.",
    "At the paper scale ResNet-18 on CIFAR-10 alone is as read. All else there stands in for what is not known of the "
    "paper: ResNet-34 on CIFAR-100, ResNet-18 on SVHN, subsets of CIFAR-10 of 15,000 images and, with crops and flips, "
    "of 5,000; 1,600 epochs, 1,000 on SVHN and 7,000 with crops and flips; SGD with a rate of 0.1, divided by 10 at "
    "0.3, 0.6 and 0.8 of training, momentum 0.9, weight decay 1e-4, batches of 128; a switch after an eighth of "
    "training; three seeds.",
    "At the small and medium scales the learning rate is constant, on digits set by a pilot on other seeds; the paper "
    "is recalled to lower it in steps.",
    "Runs on 500 images last 120 epochs (Fashion-MNIST) or 90 (CIFAR-10), which is 1,200 and 900 steps; the paper is "
    "recalled to train far longer, so that a turn that is not seen here may come later.",
    "At the small and medium scales networks on Fashion-MNIST and CIFAR-10 compute their layers in bfloat16, with "
    "weights in float32.",
    "With the squared error the learning rate is 0.02 in place of 0.05, at which training diverges.",
    "Curves show the test error of the network as it is after each epoch; the paper is recalled to show that of the "
    "epoch with the lowest training loss so far.",
    "The lowest test error is that of the curve averaged over three looks in a row, so that it is not low by luck "
    "alone.",
    "The paper's Theorem 5.1, a bound on how often labels of blends are wrong, is judged for labels drawn by chance: "
    "for the most probable labels, of which it is recalled, it does not hold.",
    "CIFAR-10 may be read from a copy that went through JPEG; errors then need not equal those on the original files.",
    "Whether a blend intrudes on a third class is judged by the image nearest to it; there seeds draw the pairs that "
    "are blended, not the images.",
)
UNKNOWN = (
    "the paper's learning rate and its schedule, weight decay, batch size",
    "its number of epochs for each set, and which subsets are in which figure",
    "its number of seeds, and how intervals were made",
    "the sizes of its teacher-student simulation (20 examples, 400 blends, 100 features here)",
    "whether its Theorem 5.1 is about the most probable or about drawn labels",
    "whether its Theorem 5.2, the bound on the risk, holds for every start or in the mean over starts",
    "on which loss its pictures of the landscape are drawn, that of blends or of clean images",
    "all numbers in its tables",
)


def _sections(results: Results) -> list[Section]:
    return [*network_sections(results), *simulation_sections(results)]


STUDY = Study(
    key="liu2023",
    title="Over-training with mixup",
    citation="Zixuan Liu, Ziqiao Wang, Hongyu Guo, Yongyi Mao: Over-Training with Mixup May Hurt Generalization. "
    "ICLR 2023, arXiv 2303.01475",
    checks=(*claims_networks.CHECKS, *claims_simulated.CHECKS, *claims_features.CHECKS, *claims_labels.CHECKS),
    trials=liu_trials,
    sections=_sections,
    deviations=DEVIATIONS,
    unknown=UNKNOWN,
)
