"""Liu et al. 2023: training with mixup for too long hurts.

Claims first (`claims_networks`, `_simulated`, `_features`, `_labels`), then the runs at every scale (`runs`, with
simulations in `risk_simulations`, `flow_checks` and `label_checks`), then figures (`exhibits`, `simulation_figures`).
"""

from mixscope.studies.engine.study_definition import Study, study_words
from mixscope.studies.liu2023 import claims_features, claims_labels, claims_networks, claims_simulated
from mixscope.studies.liu2023.exhibits import network_sections
from mixscope.studies.liu2023.runs import liu_trials
from mixscope.studies.liu2023.simulation_figures import simulation_sections

STUDY = Study(
    key="liu2023",
    checks=(*claims_networks.CHECKS, *claims_simulated.CHECKS, *claims_features.CHECKS, *claims_labels.CHECKS),
    trials=liu_trials,
    sections=lambda results: [*network_sections(results), *simulation_sections(results)],
    **study_words("mixscope.studies.liu2023"),
)
