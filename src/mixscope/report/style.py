"""Style of figures: one palette with a dark twin for each colour, the base layout, axes and the numbers on them.

Figures are built with the light colours and are valid on their own; the page recolours them through `DARK`.
The method colours follow Okabe and Ito (2008), which stay apart for colour-blind readers; the light ones are darkened
where needed to keep a contrast of at least 3:1 on white.
"""

import sys
from collections.abc import Sequence
from typing import Any

INK, MUTED, GRID, PAPER = "#1c2127", "#5a6570", "#e4e8ec", "#fffffe"
CLEAR = "rgba(0,0,0,0)"

# (light, dark) in the order in which methods appear.
METHOD_COLOURS = (
    ("#0072b2", "#5cb3ea"),
    ("#d55e00", "#ff8f4a"),
    ("#00916a", "#35cba1"),
    ("#b5508f", "#e798c8"),
    ("#94700a", "#e3bd4c"),
    ("#56606b", "#b1bbc6"),
    ("#7a4b26", "#cf9f73"),
)
# Beyond seven methods the colours come round again, told apart by their dashes.
DASHES = ("solid", "dash", "dot", "dashdot")

# Blends of two examples: (weight 1/2, weight 0 or 1). The scales stay apart at both ends; the middle is vivid.
SAME_SCALE = ("#c8102e", "#f6bfae")
DIFFERENT_SCALE = ("#0b5cad", "#a9cdea")

BAND_OPACITY = 0.17
LOG_RATIO = 3  # a logarithmic axis that spans less may have a single tick, or none
ROUNDING = 1e-9  # on a linear axis smaller numbers are the rounding of a 0
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def with_opacity(colour: str, opacity: float) -> str:
    """Return '#rrggbb' as 'rgba(r,g,b,opacity)'."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def method_colour(index: int) -> str:
    """Return the line colour of the method at this place."""
    return METHOD_COLOURS[index % len(METHOD_COLOURS)][0]


def method_dash(index: int) -> str:
    """Return the method's line style."""
    return DASHES[index // len(METHOD_COLOURS) % len(DASHES)]


DARK: dict[str, str] = {
    INK: "#e7eaed",
    MUTED: "#9ba6b1",
    GRID: "#2a3138",
    PAPER: "#14181c",
    SAME_SCALE[0]: "#ff6a5e",
    SAME_SCALE[1]: "#6b332f",
    DIFFERENT_SCALE[0]: "#5aa9ff",
    DIFFERENT_SCALE[1]: "#264a70",
    **dict(METHOD_COLOURS),
    **{with_opacity(light, BAND_OPACITY): with_opacity(dark, BAND_OPACITY) for light, dark in METHOD_COLOURS},
}


def axis(title: str, **options: Any) -> dict[str, Any]:
    """Return an axis with the house's grid and ticks; `options` are plotly's own and win."""
    base: dict[str, Any] = {
        "title": {"text": title, "font": {"size": 12, "color": MUTED}, "standoff": 6},
        "gridcolor": GRID,
        "linecolor": GRID,
        "zeroline": False,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": GRID,
        "tickfont": {"size": 11, "color": MUTED},
        "automargin": True,
        # No SI prefixes: "8f" is no number to most readers. Powers of ten only beyond five zeros.
        "exponentformat": "power",
        "minexponent": 5,
        "separatethousands": True,
    }
    return base | options


def layout(*, height: int, **options: Any) -> dict[str, Any]:
    """Return the base layout of a figure, `height` pixels tall; `options` are plotly's own and win."""
    base: dict[str, Any] = {
        "height": height,
        "autosize": True,
        "margin": {"l": 52, "r": 14, "t": 12, "b": 44},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"family": FONT, "size": 12, "color": INK},
        "hoverlabel": {"font": {"family": FONT, "size": 12, "color": INK}, "bgcolor": PAPER, "bordercolor": GRID},
        "modebar": {"bgcolor": CLEAR, "color": MUTED, "activecolor": INK},
        "showlegend": False,
        "dragmode": False,
    }
    return base | options


def plot_text(text: object, *, limit: int = 28) -> str:
    """Return text that plotly shows as it is: its markup (<b>, <a href>) and entities are escaped, long names cut."""
    whole = str(text)
    cut = whole if len(whole) <= limit else whole[: limit - 1] + "…"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def plot_number(value: float) -> float:
    """Keep six digits: more cannot be seen, and the page is a third as long."""
    return float(f"{value:.6g}")


def linear_number(value: float) -> float:
    """Return the number for a linear axis: six digits, and 0 for what is only rounding (below 1e-9)."""
    return 0.0 if abs(value) < ROUNDING else plot_number(value)


def value_ratio(values: Sequence[float]) -> float:
    """Return the largest of the values above 0 over the smallest; 1 without any."""
    positive = [value for value in values if value > 0]
    return min(max(positive) / min(positive), sys.float_info.max) if positive else 1.0


def log_axis(ratio: float) -> dict[str, Any]:
    """Return the settings of a logarithmic axis that spans this ratio: ticks at decades; where they are few, between.

    With a ratio of 3 or more at least two of the numbers 1, 2, ..., 9 of a decade are inside.
    """
    ticks = "D1" if ratio < 8 else "D2" if ratio < 100 else 1 if ratio < 1e6 else None  # None: plotly skips decades
    return {"type": "log", "tickformat": "~g"} | ({"dtick": ticks} if ticks else {})
