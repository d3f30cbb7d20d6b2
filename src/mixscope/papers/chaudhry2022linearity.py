"""Chaudhry et al. 2022, checked: which layers does mixing make linear, with labels and without.

Claims first (`chaudhry2022_claims_metric`, `_layers`, `_accuracy`), then the runs at every scale (`chaudhry2022_runs`,
with checks in `chaudhry2022_checks` and `chaudhry2022_training`), then figures.
"""

from mixscope.papers.chaudhry2022_claims_accuracy import COLLAPSE_CHECKS, GAIN_CHECKS
from mixscope.papers.chaudhry2022_claims_layers import LAYER_CHECKS
from mixscope.papers.chaudhry2022_claims_metric import METHOD_CHECKS, THEORY_CHECKS
from mixscope.papers.chaudhry2022_figures import chapters
from mixscope.papers.chaudhry2022_runs import trials
from mixscope.papers.study import Study

STUDY = Study(
    key="chaudhry2022",
    title="Linearity of layers under mixup and ICT[K]",
    citation="Chaudhry, Menon, Veit, Jayasumana, Ramalingam and Kumar: When does mixup promote local linearity in "
    "learned representations? arXiv 2210.16413, 2022.",
    checks=(*LAYER_CHECKS, *GAIN_CHECKS, *COLLAPSE_CHECKS, *THEORY_CHECKS, *METHOD_CHECKS),
    trials=trials,
    chapters=chapters,
    deviations=(
        "Networks at the small scale are a residual MLP without batch norm on digits and a four-layer convolutional "
        "network with batch norm on Fashion-MNIST; the paper trains a wide residual network on CIFAR-10, CIFAR-100 "
        "and SVHN. Layers 0 to 5 of the convolutional network are its four layers, the pool and the logits.",
        "Eq. 2 is run as printed, the network against itself on logits, and in three more forms: targets detached, a "
        "moving average of the weights compared by its probabilities, and the same with logits blended before the "
        "softmax, as in the code of Verma et al. 2019b. Which of them the paper ran is not known.",
        "The distance in Eq. 2 is squared and divided by the number of classes, as in that code.",
        "Batches hold 64 images, or 32 on Fashion-MNIST, and fewer where there are fewer labels; the paper's hold 128.",
        "Training takes 1,500 steps on digits and 800 on Fashion-MNIST.",
        "The labelled images are among the unlabelled ones; on Fashion-MNIST 3,000 images are unlabelled, not all.",
        "NonLin is a mean over pairs with the L2 norm, on 1,000 blends of the 600 test digits, most of "
        "which lead two, or on 512 blends of test images of Fashion-MNIST.",
        "K = 5, ICT[2] with the paper's alpha for SVHN, and logistic regression are ours.",
        "Every seed draws its own test part on digits, and its own labelled images.",
    ),
    unknown=(
        "number of iterations, weight decay, augmentation, width of the network",
        "whether targets of Eq. 2 are detached, and from a moving average of the weights, as in the code the paper's "
        "settings point to",
        "whether its L2 distance is squared, and of what outputs batch norm takes its statistics",
        "number of pairs in Eq. 3, the law of their weights, and whether it is a sum or a mean",
        "every value of its figures; numbers of labels other than those in the figures; what ICT[5] is",
    ),
)
