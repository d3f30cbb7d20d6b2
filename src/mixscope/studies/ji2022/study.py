"""Ji et al. 2022, checked: neural collapse without weight decay, in the layer-peeled model and in networks.

Claims first (`claims_landscape`, `_laws`, `_rates`, `_networks`), then the runs at every scale (`runs`, with the checks
and paths of the model in `landscape_checks` and `path_simulations`), then figures (`exhibits`).
"""

from mixscope.studies.engine.claim_checks import Check
from mixscope.studies.engine.study_definition import Study, study_words
from mixscope.studies.ji2022 import claims_landscape, claims_laws, claims_networks, claims_rates
from mixscope.studies.ji2022.exhibits import sections
from mixscope.studies.ji2022.runs import trials


def _place(check: Check) -> tuple[int, str]:
    """Return a claim's number and letter: "ji2022.9b" comes before "ji2022.10a"."""
    name = check.claim.key.removeprefix("ji2022.")
    digits = name.rstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits), name[len(digits) :]


CHECKS = (*claims_landscape.CHECKS, *claims_laws.CHECKS, *claims_rates.CHECKS, *claims_networks.CHECKS)
STUDY = Study(
    key="ji2022",
    checks=tuple(sorted(CHECKS, key=_place)),
    trials=trials,
    sections=sections,
    **study_words("mixscope.studies.ji2022"),
)
