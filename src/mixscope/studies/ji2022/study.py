"""Ji et al. 2022, checked: neural collapse without weight decay, in the layer-peeled model and in networks.

Claims first (`claims_landscape`, `_laws`, `_rates`, `_networks`), then the runs at every scale (`runs`, with the checks
and paths of the model in `landscape` and `simulations`), then figures (`figures`, `_networks`).
"""

from mixscope.studies.engine.claim_checks import Check
from mixscope.studies.engine.study_definition import Study
from mixscope.studies.ji2022 import claims_landscape, claims_laws, claims_networks, claims_rates
from mixscope.studies.ji2022.figures import sections
from mixscope.studies.ji2022.runs import trials


def _place(check: Check) -> tuple[int, str]:
    """Return a claim's number and letter: "ji2022.9b" comes before "ji2022.10a"."""
    name = check.claim.key.removeprefix("ji2022.")
    digits = name.rstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits), name[len(digits) :]


STUDY = Study(
    key="ji2022",
    title="Neural collapse without weight decay",
    citation="Ji, Lu, Zhang, Deng and Su: An Unconstrained Layer-Peeled Perspective on Neural Collapse. ICLR 2022.",
    checks=tuple(
        sorted(
            (*claims_landscape.CHECKS, *claims_laws.CHECKS, *claims_rates.CHECKS, *claims_networks.CHECKS), key=_place
        )
    ),
    trials=trials,
    sections=sections,
    deviations=(
        "Of the paper little more than the abstract, the opening and the captions of two figures was read; claims are "
        "from these, or marked as recalled or derived.",
        "The model's flow is integrated in the logarithm of time, to log t = 3,000; the paper runs gradient descent, "
        "which with steps of 0.1 gets to log t = 8 in 30,000 of them.",
        "Networks at the small scale are an MLP on digits and MNIST and a four-layer convolutional network on "
        "Fashion-MNIST, on subsets of 1,000 or 2,000 images; at the medium scale that MLP, and ResNet-18 on 10,000 "
        "images of MNIST and of CIFAR-10. The paper trains ResNet-18 on MNIST and CIFAR-10.",
        "At the paper scale ResNet-18 without weight decay on MNIST and CIFAR-10 is as read. All else there stands in "
        "for what is not known of the paper: Fashion-MNIST, all training images without augmentation, SGD with a "
        "constant rate of 0.1 and momentum 0.9, batches of 128, 350 epochs, five seeds.",
        "The paper's second network, VGG-13, is not run.",
        "Networks have a bias in the last layer and average the cross-entropy over a batch; the model has no bias and "
        "sums it over all examples.",
        "The last features of the networks come out of a ReLU and are at least 0; the model's may have any sign.",
        "The learning rate is constant, so that the number of epochs is proportional to the time of the flow.",
        "Runs with weight decay and with mixup are ours; the paper's networks have neither.",
    ),
    unknown=(
        "the paper's wording of its theorems, and how many features the one on the landscape asks for",
        "numbers of classes, features and examples, start and step size of its simulation (4 classes of 5 examples, 6 "
        "features, normal starts of size 1 and 0.4 here)",
        "learning rate, momentum, batch size, number of epochs and seeds of its networks",
        "its formula for variation within classes (both in use are measured here)",
    ),
)
