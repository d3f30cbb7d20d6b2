"""Settings and methods of the study of Liu et al. 2023, by name."""

from typing import Literal

MixingOff = int | Literal["auto"] | None  # after which epoch mixing stops

ERM, MIXUP, AUTO = "erm", "mixup", "mixup-auto"
THREE_METHODS: dict[str, MixingOff] = {ERM: None, MIXUP: None, AUTO: "auto"}
SWITCHES = (20, 50, 100, 200, 666)  # epochs of 2000 after which mixing stops
ALPHAS = (0.2, 4.0)
WEIGHT_DECAY = 1e-4  # our pilot's
SIDE_EPOCHS = 1000  # of runs with other alphas, penalties and losses
DIGITS_EPOCHS = {"digits-100": 1500, "digits-200": 2000, "digits-500": 800}
IMAGE_SETTINGS = ("fashion-mnist-500", "fashion-mnist-500-augmented", "cifar10-500", "cifar10-500-augmented")
MEDIUM_SETTINGS = ("cifar10-5000", "cifar10-5000-augmented")
PAPER_SETTINGS = ("cifar10", "cifar10-15000", "cifar10-5000-augmented", "cifar100", "svhn")
NETWORK_SETTINGS = tuple(dict.fromkeys((*DIGITS_EPOCHS, *IMAGE_SETTINGS, *MEDIUM_SETTINGS, *PAPER_SETTINGS)))
FEATURES, OUTSIDE = "random-features", "outside-teacher"
TOYS = {FEATURES: "random_features", OUTSIDE: "outside_teacher"}  # what is simulated in each, and whose bound
BOUNDS = {FEATURES: "bound_and_modes", OUTSIDE: "outside_bound"}
INTRUSIONS = {"digits-all": "digits_intrusion", "iris": "iris_intrusion"}


def switched(epoch: int) -> str:
    """Name the method that stops mixing after an epoch."""
    return f"mixup-off-{epoch}"
