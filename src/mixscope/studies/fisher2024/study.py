"""Fisher et al. 2024: what mixup does to the last layer, checked on small networks and on their model.

Read on in this order: the claims (`claims_channel`, `_confidence`, `_theory`), written before any run;
the runs (`runs`) and the checks of theory (`theory_checks`); the figures (`exhibits`, `figures_weight`).
"""

from mixscope.report.page import Section, present
from mixscope.studies.engine.results import Results
from mixscope.studies.engine.study_definition import Study, study_words
from mixscope.studies.fisher2024 import claims_channel, claims_confidence, claims_theory
from mixscope.studies.fisher2024.exhibits import calibration_section, confidence_section, layers_section, plane_sections
from mixscope.studies.fisher2024.figures_weight import density_section, theory_section, weight_section
from mixscope.studies.fisher2024.runs import trials


def sections(results: Results) -> list[Section]:
    """Return the figures, those for which nothing was run left out."""
    return present(
        [
            *plane_sections(results),
            weight_section(results),
            theory_section(results),
            density_section(results),
            layers_section(results),
            calibration_section(results),
            confidence_section(results),
        ]
    )


STUDY = Study(
    key="fisher2024",
    checks=(*claims_channel.CHECKS, *claims_confidence.CHECKS, *claims_theory.CHECKS, *claims_confidence.CONTROLS),
    trials=trials,
    sections=sections,
    **study_words("mixscope.studies.fisher2024"),
)
