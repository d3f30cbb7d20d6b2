"""Ji et al. 2022, checked: neural collapse without weight decay, in the layer-peeled model and in networks.

Claims first (`ji2022_claims_landscape`, `_laws`, `_rates`, `_networks`), then the runs at every scale (`ji2022_runs`,
with the checks and paths of the model in `ji2022_landscape` and `ji2022_simulations`), then figures.
"""

from mixscope.papers.ji2022_claims_landscape import LANDSCAPE_CHECKS
from mixscope.papers.ji2022_claims_laws import LAW_CHECKS
from mixscope.papers.ji2022_claims_networks import NETWORK_CHECKS
from mixscope.papers.ji2022_claims_rates import RATE_CHECKS
from mixscope.papers.ji2022_figures import chapters
from mixscope.papers.ji2022_runs import trials
from mixscope.papers.study import Check, Study


def _place(check: Check) -> tuple[int, str]:
    """Return a claim's number and letter: "ji2022.9b" comes before "ji2022.10a"."""
    name = check.claim.key.removeprefix("ji2022.")
    digits = name.rstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits), name[len(digits) :]


STUDY = Study(
    key="ji2022",
    title="Neural collapse without weight decay",
    citation="Ji, Lu, Zhang, Deng and Su: An Unconstrained Layer-Peeled Perspective on Neural Collapse. ICLR 2022.",
    checks=tuple(sorted((*LANDSCAPE_CHECKS, *LAW_CHECKS, *RATE_CHECKS, *NETWORK_CHECKS), key=_place)),
    trials=trials,
    chapters=chapters,
    deviations=(
        "The model's flow is integrated in the logarithm of time, to log t = 3,000; the paper runs gradient descent, "
        "which covers log t = 8 in 30,000 steps.",
        "Networks at the small scale are an MLP on digits and MNIST and a four-layer convolutional network on "
        "Fashion-MNIST, on subsets of 1,000 or 2,000 images; the paper trains ResNet-18 on MNIST and CIFAR-10.",
        "The paper's second network, VGG-13, is not run.",
        "Networks have a bias in the last layer and the mean cross-entropy, the model neither bias nor mean.",
        "Features of the networks follow a ReLU and are at least 0; the model's are free.",
        "The learning rate is constant, so that epochs are proportional to the time of the flow.",
        "Runs with weight decay and with mixup are ours; the paper's networks have neither.",
    ),
    unknown=(
        "the paper's wording of its theorems and the condition on the number of features in the one on the landscape",
        "numbers of classes, features and examples, start and step size of its simulation",
        "learning rate, momentum, batch size, number of epochs and seeds of its networks",
        "its formula for variation within classes",
    ),
)
