"""Studies and their scales by name, for the command line; a study is loaded when it is asked for. Imports no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from mixscope.studies.engine.study_definition import Study

StudyKey = Literal["fisher2024", "liu2023", "ji2022", "chaudhry2022", "beyond"]
Scale = Literal["smoke", "small", "medium", "paper"]
PACKAGES: dict[StudyKey, str] = {key: key for key in get_args(StudyKey)} | {
    "beyond": "when_to_mix"
}  # where each stands
STUDY_KEYS: tuple[StudyKey, ...] = tuple(PACKAGES)
SCALES: tuple[Scale, ...] = get_args(Scale)


def load_study(key: StudyKey) -> "Study":
    """Return a study; a `ValueError` names those there are."""
    if key not in PACKAGES:
        raise ValueError(f"key must be one of {', '.join(PACKAGES)}, got {key!r}")
    study: Study = import_module(f"mixscope.studies.{PACKAGES[key]}.study").STUDY
    return study
