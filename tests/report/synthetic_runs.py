"""Made-up runs for the tests of the report: smooth curves with a little noise. No number here was measured."""

import math
import random
from pathlib import Path
from typing import Any

from mixscope.records.store import Run

CLASS_NAMES = ["circle", "square", "triangle", "star", "cross", "ring", "line", "dot", "wave", "grid"]
SITES = ["input", "layer1", "layer2", "layer3", "features", "head"]
SHAPES = {
    "erm": {
        "best": 6.4,
        "turn": 10**9,
        "rise": 0.0,
        "gap": 0.045,
        "amplification": 1.1,
        "order": (7.1, 6.8, 6.6),
        "bend": 1.0,
    },
    "mixup": {
        "best": 5.9,
        "turn": 40,
        "rise": 1.8,
        "gap": -0.07,
        "amplification": 1.87,
        "order": (3.5, 4.5, 5.2),
        "bend": 2.0,
    },
    "mixup, then off": {
        "best": 5.2,
        "turn": 90,
        "rise": 0.12,
        "gap": -0.012,
        "amplification": 1.55,
        "order": (4.4, 4.6, 4.3),
        "bend": 1.4,
    },
}


def synthetic_run(
    method: str = "mixup",
    *,
    seed: int = 0,
    epochs: list[int] | None = None,
    kind: str = "train",
    status: str = "finished",
    has_pictures: bool = True,
    class_names: list[str] | None = None,
    shape: dict[str, Any] | None = None,
    **changes: Any,
) -> Run:
    """Make one run; `changes` are set in every measured epoch."""
    chance = random.Random(f"{method}/{seed}")
    shape = shape or SHAPES.get(method, SHAPES["mixup"])
    class_names = class_names or CLASS_NAMES
    epochs = epochs if epochs is not None else [0, 1, 2, 3, 4, 6, 8, *range(10, 401, 5)]
    own = chance.uniform(-0.25, 0.25)
    metrics = [_row(method, epoch, shape, own, chance, kind) | changes for epoch in epochs]
    is_mixed = method != "erm"
    record = {
        "schema": 1,
        "name": f"{method}-seed{seed}",
        "method": method,
        "kind": kind,
        "description": {
            "seed": seed,
            "data": {"name": "shapes", "num_train": 200},
            "mixing": {"type": "Mixup", "alpha": 1.0, "off_after": 200 if "off" in method else None}
            if is_mixed
            else {"type": "NoMixing"},
            "training": {
                "epochs": epochs[-1] if epochs else 0,
                "batch_size": 50,
                "learning_rate": 0.05,
                "weight_decay": 1e-4,
            },
        },
        "data": {
            "name": "shapes (synthetic)",
            "num_train": 200,
            "num_test": 797,
            "num_classes": len(class_names),
            "class_names": class_names,
            "image_shape": [1, 8, 8],
            "notes": "",
        },
        "model": {"name": "mlp", "num_parameters": 85002, "sites": SITES, "head": "head"},
        "environment": {
            "mixscope": "0.1.0",
            "torch": "2.6.0",
            "python": "3.11.9",
            "platform": "Linux",
            "processor": "Synthetic CPU",
            "num_threads": 2,
            "device": "cpu",
            "commit": "0123456789abcdef",
        },
        "started": "2026-01-02T03:04:05+00:00",
        "wall_seconds": 123.4 + seed,
        "status": status,
        "message": "",
    }
    pictures = (
        _pictures(epochs[-1] if epochs else None, shape, class_names, chance, metrics[-1]) if has_pictures else {}
    )
    return Run(folder=Path("runs") / f"{method}-seed{seed}", record=record, metrics=metrics, pictures=pictures)


def synthetic_runs(num_seeds: int = 3) -> list[Run]:
    return [synthetic_run(method, seed=seed) for method in SHAPES for seed in range(num_seeds)]


def _row(
    method: str, epoch: int, shape: dict[str, Any], own: float, chance: random.Random, kind: str
) -> dict[str, Any]:
    late = max(0.0, 1 - math.exp(-(epoch - shape["turn"]) / 80)) if epoch > shape["turn"] else 0.0
    error = shape["best"] + own + 84 * math.exp(-epoch / 4) + 3 * math.exp(-epoch / 25) + shape["rise"] * late
    error = (error + chance.gauss(0, 0.05)) / 100
    mixing_on = method != "erm" and not ("off" in method and epoch > 200)
    progress = 1 - math.exp(-epoch / 60)
    gap = shape["gap"] * progress + chance.gauss(0, 0.003)
    low, middle, high = shape["order"]
    row: dict[str, Any] = {
        "epoch": epoch if kind == "train" else None,
        "step": 4 * epoch,
        "wall_seconds": 0.3 * epoch,
        "learning_rate": 0.05,
        "mixing_on": mixing_on,
        "train/loss": 0.45 + math.exp(-epoch / 20),
        "train/accuracy_blends": 0.75 - 0.6 * math.exp(-epoch / 20) if mixing_on else None,
        "train/accuracy_clean": 1 - 0.9 * math.exp(-epoch / 8),
        "test/error": error,
        "test/accuracy": 1 - error,
        "test/loss": 0.2 + 2 * math.exp(-epoch / 6) + 0.06 * shape["rise"] * late + abs(own) / 10,
        "test/brier": error * 1.5,
        "test/ece": abs(gap) + 0.008,
        "test/signed_gap": gap,
        "nc/nc1_pinv": 5 * math.exp(-5 * progress) + 0.02 * shape["bend"],
        "nc/nc1_trace": 3 * math.exp(-4 * progress) + 0.05 * shape["bend"],
        "nc/nc1_cdnv": 1.5 * math.exp(-4 * progress) + 0.02 * shape["bend"],
        "nc/nc2_equinorm_means": 0.3 * math.exp(-2 * progress),
        "nc/nc2_equiangular_means": 0.4 * math.exp(-2 * progress),
        "nc/nc3_duality": 1.2 * math.exp(-1.5 * progress),
        "nc/nc3_alignment": 0.8 * math.exp(-2.5 * progress),
        "nc/nc4_mismatch": 0.3 * math.exp(-4 * progress),
        "channels/amplification_means": 1 + (shape["amplification"] - 1) * progress + chance.gauss(0, 0.01),
        "channels/deviation_same": 0.2,
        "channels/deviation_different": 0.6,
        "channels/deviation_different_middle": 0.8,
        "channels/alignment_same": 0.83,
        "channels/alignment_channel": 0.8,
        "channels/logit_slope": 1.5 * shape["order"][0] / 3.5,
        "channels/order_low": low + chance.gauss(0, 0.02),
        "channels/order_middle": middle + chance.gauss(0, 0.02),
        "channels/order_high": high + chance.gauss(0, 0.02),
    }
    for layer in _layers(shape, chance):
        row |= {f"linearity/{layer['site']}/{name}": value for name, value in layer.items() if name != "site"}
    return row


def _layers(shape: dict[str, Any], chance: random.Random) -> list[dict[str, Any]]:
    layers = []
    for depth, site in enumerate(SITES):
        floor = 0.05 + 0.02 * depth * shape["bend"]
        angle = 1.0 + 2 * depth * shape["bend"] + chance.uniform(0, 0.3)
        defect = 0.0 if depth == 0 else (0.05 + 0.02 * depth) * shape["bend"] + chance.uniform(0, 0.005)
        nonlinearity = floor + 0.004 * angle
        layers.append(
            {
                "site": site,
                "nonlinearity": nonlinearity,
                "floor": floor,
                "radial": floor**2,
                "angular": 0.01,
                "angle_degrees": angle,
                "relative_defect": defect,
            }
        )
    return layers


def _pictures(
    epoch: int | None, shape: dict[str, Any], names: list[str], chance: random.Random, row: dict[str, Any]
) -> dict[str, Any]:
    edges = [place / 15 for place in range(16)]
    count = [int(2 + 400 * (place / 14) ** 6) if place > 2 else 0 for place in range(15)]
    confidence = [None if not c else (place + 0.5) / 15 for place, c in enumerate(count)]
    accuracy = [
        None if c is None else min(1.0, max(0.0, c - 2 * shape["gap"] * (1 - c) * 3 + chance.gauss(0, 0.02)))
        for c in confidence
    ]
    corners = [(3 * math.cos(a), 3 * math.sin(a)) for a in (math.pi / 2, math.pi * 7 / 6, math.pi * 11 / 6)]

    def points(is_same: bool) -> dict[str, list[Any]]:
        columns: dict[str, list[Any]] = {"x": [], "y": [], "weight": [], "first": [], "second": []}
        for _ in range(200 if is_same else 400):
            i = chance.randrange(3)
            j = i if is_same else (i + chance.choice([1, 2])) % 3
            weight = chance.random()
            bulge = 1 + (shape["amplification"] - 1) * 4 * weight * (1 - weight) * (not is_same)
            for axis, column in enumerate(("x", "y")):
                value = bulge * (weight * corners[i][axis] + (1 - weight) * corners[j][axis]) + chance.gauss(0, 0.25)
                columns[column].append(value)
            columns["weight"].append(weight)
            columns["first"].append((0, 3, 7)[i])
            columns["second"].append((0, 3, 7)[j])
        return columns

    pairs: dict[str, list[Any]] = {"weight": [], "x1": [], "x2": [], "same": []}
    for place in range(400):
        weight = chance.random()
        lift = (shape["amplification"] - 1) * 4 * weight * (1 - weight)
        pairs["weight"].append(weight)
        pairs["x1"].append(6 * (weight + 0.5 * lift) + chance.gauss(0, 0.5))
        pairs["x2"].append(6 * (1 - weight + 0.5 * lift) + chance.gauss(0, 0.5))
        pairs["same"].append(place % 3 == 0)
    return {
        "epoch": epoch,
        "reliability": {
            "edges": edges,
            "count": count,
            "confidence": confidence,
            "accuracy": accuracy,
            "ece": row.get("test/ece"),
            "signed_gap": row.get("test/signed_gap"),
        },
        "plane": {
            "classes": [0, 3, 7],
            "class_names": [names[i % len(names)] for i in (0, 3, 7)],
            "classifiers": {"x": [c[0] / 4 for c in corners], "y": [c[1] / 4 for c in corners]},
            "same": points(True),
            "different": points(False),
        },
        "linearity": _layers(shape, chance),
        "pairs": pairs,
    }
