"""The type in which residuals of a batch are formed, squared and multiplied: float32 where that keeps its digits."""

import torch
from torch import Tensor

from mixscope.base.checks import check_finite

# Fewer columns than this cost no more in float64 than in float32.
NARROW = 96
# A batch of this length in all (the root of its sum of squares) has float32 squares that neither overflow nor vanish;
# other batches are computed in float64, whose squares are finite up to the limit.
FLOAT32_RANGE = (1e-7, 1e15)
FLOAT64_LIMIT = 1e150


def needs_float64(features: Tensor, *, product_dtype: torch.dtype | None) -> bool:
    """Return whether residuals of these features, (B, D), must be float64; raise a `ValueError` if they are too large.

    `product_dtype` is the caller's wish, None for none.
    """
    length = float(torch.linalg.vector_norm(features, dtype=torch.promote_types(features.dtype, torch.float32)))
    is_in_range = FLOAT32_RANGE[0] < length < FLOAT32_RANGE[1]  # one look: NaN, infinities and the range
    if not is_in_range:
        check_finite(features=features)
        size = float(features.abs().max())
        if size > FLOAT64_LIMIT:
            raise ValueError(f"features must be at most {FLOAT64_LIMIT} in size, got {size}")
        is_in_range = size == 0
    # Half-precision features take few values: the roundings of their float32 products lean one way and add up.
    is_plain = features.dtype is torch.float32 and features.shape[1] >= NARROW and product_dtype is None
    return not is_in_range or not (is_plain or product_dtype is torch.float32)
