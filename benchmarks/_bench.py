"""What the benchmarks share: the machine's description, medians with their spread, and the committed JSON."""

import argparse
import json
import statistics
from pathlib import Path

import torch

from mixscope.records.environment import describe_environment

RESULTS = Path(__file__).parent / "results"


def parse_arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, help="JSON file; left out: benchmarks/results/NAME.json")
    parser.add_argument("--quick", action="store_true", help="few repetitions, to see that it runs")
    return parser.parse_args()


def summarise(values):
    """Median, lowest, highest and the number of repetitions."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "n": len(values)}


def write_result(name, results, *, out=None, notes=()):
    environment = describe_environment(device="cpu", num_threads=torch.get_num_threads())
    path = out or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"benchmark": name, "environment": environment, "notes": notes, "results": results}, indent=1)
    )
    print(f"wrote {path}")
