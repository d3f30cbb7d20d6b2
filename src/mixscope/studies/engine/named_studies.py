"""The studies by name; each is loaded when it is asked for."""

from importlib import import_module

from mixscope.studies.engine.study_definition import Study
from mixscope.studies.names import STUDY_KEYS, StudyKey


def load_study(key: StudyKey) -> Study:
    """Return a study.

    Raises:
        ValueError: If there is none of that name.
    """
    if key not in STUDY_KEYS:
        raise ValueError(f"key must be one of {', '.join(STUDY_KEYS)}, got {key!r}")
    package = "when_to_mix" if key == "beyond" else key
    study = import_module(f"mixscope.studies.{package}.study").STUDY
    assert isinstance(study, Study)
    return study
