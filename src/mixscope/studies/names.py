"""The studies and their scales by name, for the command line. Imports no torch."""

from typing import Literal, get_args

StudyKey = Literal["fisher2024", "liu2023", "ji2022", "chaudhry2022", "beyond"]
Scale = Literal["smoke", "small", "medium", "paper"]
STUDY_KEYS: tuple[StudyKey, ...] = get_args(StudyKey)
SCALES: tuple[Scale, ...] = get_args(Scale)
