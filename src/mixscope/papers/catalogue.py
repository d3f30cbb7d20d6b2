"""The studies by name; each is loaded when it is asked for."""

from importlib import import_module

from mixscope.papers.names import STUDY_KEYS, StudyKey
from mixscope.papers.study import Study

_MODULES: dict[StudyKey, str] = {
    "fisher2024": "fisher2024collapse",
    "liu2023": "liu2023overtraining",
    "ji2022": "ji2022peeled",
    "chaudhry2022": "chaudhry2022linearity",
    "beyond": "beyond",
}


def load_study(key: StudyKey) -> Study:
    """Return a study.

    Raises:
        ValueError: If there is none of that name.
    """
    if key not in _MODULES:
        raise ValueError(f"key must be one of {', '.join(STUDY_KEYS)}, got {key!r}")
    study = import_module(f"mixscope.papers.{_MODULES[key]}").STUDY
    assert isinstance(study, Study)
    return study
