"""The studies and their scales by name, for the command line. Imports no torch."""

from typing import Literal, get_args

StudyKey = Literal["fisher2024", "liu2023", "ji2022", "chaudhry2022", "beyond"]
Scale = Literal["smoke", "small", "medium", "paper"]
PACKAGES: dict[StudyKey, str] = {
    "fisher2024": "fisher2024",
    "liu2023": "liu2023",
    "ji2022": "ji2022",
    "chaudhry2022": "chaudhry2022",
    "beyond": "when_to_mix",
}  # where each stands
STUDY_KEYS: tuple[StudyKey, ...] = tuple(PACKAGES)
SCALES: tuple[Scale, ...] = get_args(Scale)
