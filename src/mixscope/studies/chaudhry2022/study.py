"""Chaudhry et al. 2022, checked: which layers does mixing make linear, with labels and without.

Claims first (`claims_metric`, `_layers`, `_accuracy`), then the runs at every scale (`runs`, with checks in
`metric_checks` and `ict_checks`), then figures (`exhibits`).
"""

from mixscope.studies.chaudhry2022 import claims_accuracy, claims_layers, claims_metric
from mixscope.studies.chaudhry2022.exhibits import sections
from mixscope.studies.chaudhry2022.runs import trials
from mixscope.studies.engine.study_definition import Study, study_words

STUDY = Study(
    key="chaudhry2022",
    checks=(*claims_layers.CHECKS, *claims_accuracy.CHECKS, *claims_metric.CHECKS),
    trials=trials,
    sections=sections,
    **study_words("mixscope.studies.chaudhry2022"),
)
