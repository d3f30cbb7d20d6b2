"""The studies by name; each is loaded when it is asked for."""

from importlib import import_module

from mixscope.studies.engine.study_definition import Study
from mixscope.studies.names import PACKAGES, StudyKey


def load_study(key: StudyKey) -> Study:
    """Return a study.

    Raises:
        ValueError: If there is none of that name.
    """
    if key not in PACKAGES:
        raise ValueError(f"key must be one of {', '.join(PACKAGES)}, got {key!r}")
    study = import_module(f"mixscope.studies.{PACKAGES[key]}.study").STUDY
    assert isinstance(study, Study)
    return study
