"""Numbers in words: few digits, and never so few that a number seems to lie on the other side of a limit."""

import math
from collections.abc import Sequence

DIGITS = 3
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def number_text(value: float, *, apart_from: Sequence[float] = ()) -> str:
    """Return a number in three significant digits, or in as many more as keep it on its side of `apart_from`.

    Args:
        value: Any number; "not a number" and "infinite" are written so.
        apart_from: Numbers that the text must read as above, below or equal to as the value is.

    Example:
        >>> number_text(0.02996), number_text(0.02996, apart_from=[0.03]), number_text(0.02996, apart_from=[0.02998])
        ('0.03', '0.02996', '0.02996')
        >>> number_text(-12345.6), number_text(2.5e-7), number_text(1e-10)
        ('−12,300', '2.5·10⁻⁷', '10⁻¹⁰')
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite" if value > 0 else "−infinite"
    for digits in range(DIGITS, 18):
        text = f"{value:.{digits}g}"
        if _is_on_its_side(text, value, apart_from):
            break
    return _written(text, digits)


def interval_text(mean: float, low: float, high: float, *, apart_from: Sequence[float] = ()) -> str:
    """Return 'mean [low, high]' with as many decimals everywhere as give the largest three significant digits.

    Args:
        mean: A finite number.
        low: The lower end of its interval, finite.
        high: The upper end, finite.
        apart_from: Numbers on whose side every text must stay; see `number_text`. Each number then has its own digits.

    Example:
        >>> interval_text(10.98, 9.03, 12.93), interval_text(0.2, -1e-9, 0.4)
        ('11.0 [9.0, 12.9]', '0.2 [−10⁻⁹, 0.4]')
    """
    values = (mean + 0.0, low + 0.0, high + 0.0)  # -0.0 is 0
    largest = max(map(abs, values))
    decimals = DIGITS - 1 - math.floor(math.log10(largest)) if largest else 0
    texts = [f"{value:.{max(decimals, 0)}f}" for value in values]
    if (
        largest >= 1e3
        or 0 < largest < 1e-3
        or any(
            (value and not float(text)) or not _is_on_its_side(text, value, apart_from)
            for value, text in zip(values, texts, strict=True)
        )
    ):
        texts = [number_text(value, apart_from=apart_from) for value in values]
    first, second, third = (text.replace("-", "−") for text in texts)
    return f"{first} [{second}, {third}]"


def exact_text(value: float) -> str:
    """Return a number as it was written down, a limit for example: '1.4', '10⁻⁶', '0'."""
    return _written(f"{value:.15g}", 15)


def _is_on_its_side(text: str, value: float, limits: Sequence[float]) -> bool:
    """Say whether a text reads as above, below or equal to every limit as the value is."""
    shown = float(text)
    return all((shown > limit, shown < limit) == (value > limit, value < limit) for limit in limits)


def _written(text: str, digits: int) -> str:
    """Write what Python's g format made: powers of ten as such, thousands apart, a proper minus."""
    mantissa, _, exponent = text.partition("e")
    if 0 <= int(exponent or 0) < 6:
        text = f"{float(text):,.0f}" if exponent else f"{float(text):,.{digits}g}"
    else:
        power = f"10{str(int(exponent)).translate(SUPERSCRIPTS)}"
        text = f"{mantissa}·{power}" if mantissa not in ("1", "-1") else mantissa.replace("1", power)
    return "0" if text == "-0" else text.replace("-", "−")
