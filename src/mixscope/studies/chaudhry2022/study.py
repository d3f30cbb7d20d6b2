"""Chaudhry et al. 2022, checked: which layers does mixing make linear, with labels and without.

Claims first (`claims_metric`, `_layers`, `_accuracy`), then the runs at every scale (`runs`, with checks in `checks`
and `training`), then figures (`figures`, `_layers`).
"""

from mixscope.studies.chaudhry2022 import claims_accuracy, claims_layers, claims_metric
from mixscope.studies.chaudhry2022.figures import sections
from mixscope.studies.chaudhry2022.runs import trials
from mixscope.studies.engine.study_definition import Study

STUDY = Study(
    key="chaudhry2022",
    title="Linearity of layers under mixup and ICT[K]",
    citation="Chaudhry, Menon, Veit, Jayasumana, Ramalingam and Kumar: When does mixup promote local linearity in "
    "learned representations? arXiv 2210.16413, 2022.",
    checks=(*claims_layers.CHECKS, *claims_accuracy.CHECKS, *claims_metric.CHECKS),
    trials=trials,
    sections=sections,
    deviations=(
        "Networks at the small scale are a residual MLP without batch norm on digits and a four-layer convolutional "
        "network with batch norm on Fashion-MNIST; the paper trains a wide residual network on CIFAR-10, CIFAR-100 "
        "and SVHN. Layers 0 to 5 of the convolutional network are its four layers, the pool and the logits.",
        "Eq. 2 is run as printed, the network against itself on logits, and in three more forms: targets detached, a "
        "moving average of the weights compared by its probabilities, and the same with logits blended before the "
        "softmax, as in the code of Verma et al. 2019b. Which of them the paper ran is not known.",
        "The distance in Eq. 2 is squared and divided by the number of classes, as in that code.",
        "At the paper scale the data sets, Adam with a rate of 0.002, batches of 128, the alphas, the ramp of the "
        "consistency loss and five seeds are as read. What stands in for what is not known of the paper: 100,000 "
        "steps, a constant rate, no weight decay, crops and flips (on SVHN crops alone), a width of 2, and 2,000 "
        "pairs of test images.",
        "The paper scale runs the numbers of labels in the paper's figures, 250, 2,000 and 4,000. Its text names 1,000 "
        "too, and 40,000 where the figures have 4,000. On CIFAR-100 it runs the 10,000 of the text; the caption of the "
        "figure says 100.",
        "At the small and medium scales batches hold 64 images, or 32 on Fashion-MNIST, and fewer where there are "
        "fewer labels.",
        "Training takes 1,500 steps on digits, 800 on Fashion-MNIST and 5,000 at the medium scale, which trains "
        "WideResNet-16-2 on CIFAR-10.",
        "The labelled images are among the unlabelled ones; on Fashion-MNIST 3,000 images are unlabelled, not all.",
        "NonLin is a mean over pairs with the L2 norm: over 1,000 blends of two of the 600 test digits, most of which "
        "occur in several blends, or over 512 blends of test images of Fashion-MNIST.",
        "Claims 5a and 5b are about a layer 0 that is affine: Fashion-MNIST, whose network has batch norm and a ReLU "
        "there, is not judged by them.",
        "Labels needed (claims 16a to 16g) are judged on digits, the only images with three numbers of labels at the "
        "small scale.",
        "ICT[5], which the paper mentions without defining it, is taken to be K = 5. ICT[2] with the paper's alpha for "
        "SVHN on digits, and logistic regression, are ours.",
        "Every seed draws its own test part on digits, and its own labelled images.",
    ),
    unknown=(
        "number of iterations, weight decay, augmentation, width of the network",
        "whether targets of Eq. 2 are detached, and from a moving average of the weights, as in the code the paper's "
        "settings point to",
        "whether its L2 distance is squared, and whether batch norm takes its statistics from blends",
        "number of pairs in Eq. 3, the law of their weights, and whether it is a sum or a mean",
        "every value of its figures; whether it ran 1,000 labels, which its text names and its figures do not show; "
        "what ICT[5] is",
    ),
)
