"""Write docs/metrics.md from the metrics' catalogue: run by `make docs`."""

from pathlib import Path

from mixscope.report.reference import metric_reference

Path(__file__).with_name("metrics.md").write_text(metric_reference())
