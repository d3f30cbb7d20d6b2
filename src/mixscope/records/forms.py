"""Forms of all records: `run.json`, a line of `metrics.jsonl`, `pictures.json`, the record of a trial."""

from mixscope.records.environment import SCHEMA
from mixscope.records.form import (
    ANYTHING,
    COUNT,
    DRAWN,
    FLAG,
    INTEGER,
    NUMBER,
    SCALAR,
    TEXT,
    Aligned,
    Leaf,
    exactly,
    one_of,
    or_null,
)
from mixscope.records.json_numbers import NAMED

MAYBE_DRAWN = or_null(DRAWN)
MEASURED = Leaf(
    f"a finite number, {', '.join(NAMED)}, true, false or null",
    lambda value: value in NAMED if isinstance(value, str) else SCALAR.holds(value),
)

DATA = {
    "name": TEXT,
    "num_train?": COUNT,
    "num_test?": COUNT,
    "num_unlabelled?": COUNT,
    "num_classes?": COUNT,
    "class_names?": [TEXT],
    "image_shape?": [COUNT],
    "notes?": TEXT,
    "fingerprint?": or_null(TEXT),
    "test_fingerprint?": or_null(TEXT),
    "*": ANYTHING,
}
ENVIRONMENT = {"commit?": or_null(TEXT), "*": SCALAR}
RUN = {
    "schema": exactly(SCHEMA),
    "name": TEXT,
    "method": TEXT,
    "kind?": one_of("train", "measure"),
    "description": {"seed?": or_null(INTEGER), "*": ANYTHING},
    "data": DATA,
    "model": {
        "name": TEXT,
        "num_parameters?": COUNT,
        "sites?": [TEXT],
        "head?": or_null(TEXT),
        "fingerprint?": or_null(TEXT),
        "*": ANYTHING,
    },
    "environment": ENVIRONMENT,
    "started?": TEXT,
    "wall_seconds?": or_null(NUMBER),
    "status": TEXT,
    "message?": TEXT,
    "notes?": [TEXT],
    "cautions?": [TEXT],
    "mixing_off_after?": or_null(COUNT),
    "resumed?": [{"*": ANYTHING}],
    "*": ANYTHING,
}

TRAINED_LINE = {"epoch": COUNT, "*": MEASURED}
MEASURED_LINE = {"epoch": or_null(COUNT), "*": MEASURED}  # of a checkpoint from elsewhere nobody knows the epoch

RELIABILITY = Aligned(
    {"edges": [DRAWN], "count": [DRAWN], "confidence": [MAYBE_DRAWN], "accuracy": [MAYBE_DRAWN], "*": ANYTHING},
    ("count", "confidence", "accuracy"),
    edges="edges",
)
CURVE = Aligned({"name": TEXT, "weight": [DRAWN], "x1": [DRAWN], "x2": [DRAWN], "*": SCALAR}, ("weight", "x1", "x2"))
PAIRS = Aligned(
    {"weight": [MAYBE_DRAWN], "x1": [MAYBE_DRAWN], "x2": [MAYBE_DRAWN], "same": [FLAG], "theory?": CURVE},
    ("weight", "x1", "x2", "same"),
)
LAYER_NUMBERS = ("nonlinearity", "floor", "angle_degrees", "relative_defect", "*")
LAYER = {"site": TEXT, **dict.fromkeys(LAYER_NUMBERS, MAYBE_DRAWN)}
POINTS = Aligned({"x": [MAYBE_DRAWN], "y": [MAYBE_DRAWN]})
CLOUD = Aligned({"x": [MAYBE_DRAWN], "y": [MAYBE_DRAWN], "weight": [MAYBE_DRAWN], "first": [COUNT], "second": [COUNT]})
PLANE = Aligned(
    {"classes": [COUNT], "class_names?": [TEXT], "classifiers": POINTS, "same": CLOUD, "different": CLOUD},
    ("classes", "class_names", "classifiers.x"),
)
PICTURES = {
    "epoch?": or_null(COUNT),
    "reliability?": RELIABILITY,
    "linearity?": [LAYER],
    "pairs?": PAIRS,
    "plane?": PLANE,
    "*": ANYTHING,
}

TRIAL_PLANE = Aligned(
    {"epoch": COUNT, "classes": [TEXT], "eval": POINTS, "train": POINTS, "classifiers": POINTS}
    | {"weight": [DRAWN], "same": [FLAG]},
    ("eval.x", "train.x", "weight", "same"),
)
WHOLE = Leaf(
    f"a finite number, {', '.join(NAMED)} or null",
    lambda value: value is None or NUMBER.holds(value) or (isinstance(value, str) and value in NAMED),
)
TRIAL = {
    "schema": exactly(SCHEMA),
    "kind": exactly("trial"),
    "name": TEXT,
    "description": {"*": ANYTHING},
    "environment": ENVIRONMENT,
    "data": {"*": ANYTHING},
    "started": TEXT,
    "checksum?": TEXT,
    "wall_seconds": NUMBER,
    "problem": TEXT,
    "values": {"*": WHOLE},
    "tables": {"*": Aligned({"*": [WHOLE]})},
    "pictures": PICTURES | {"sites?": [TEXT], "layers?": [TEXT], "planes?": [TRIAL_PLANE]},
}
