"""The curve of a run as a picture: success above, tool calls below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from envkit.train.metrics import read

CURVE = "curve.png"
INK, SOFT, HELD = "#334155", "#94a3b8", "#2563eb"


def draw(out: Path, title: str, floor: float) -> Path:
    """Draw `curve.png` from the metrics of a run; where it is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    trained, held = read(out, "train"), read(out, "eval")
    figure = Figure(figsize=(7, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    start = held[0] if held else None
    for axes, name in ((above, "success"), (below, "calls")):
        _line(axes, trained, name, color=SOFT, linewidth=1, label="training, each step")
        _line(axes, held, name, color=HELD, linewidth=2, marker="o", markersize=4, label="held out")
        if start is not None:
            axes.axhline(
                start[name], color=INK, linestyle="--", linewidth=1, label="after the warm start"
            )
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25)
    above.axhline(floor, color="#dc2626", linestyle=":", linewidth=1, label="best guess")
    above.set(ylabel="success rate", ylim=(-0.02, 1.02), title=title)
    below.set(ylabel="tool calls per episode", xlabel="steps of reinforcement learning")
    below.set_ylim(bottom=0)
    above.legend(loc="best", frameon=False, fontsize=8)
    path = out / CURVE
    waiting = out / f".{CURVE}"
    figure.savefig(waiting, format="png", dpi=120)
    waiting.replace(path)
    return path


def _line(axes: Any, entries: list[dict[str, Any]], name: str, **style: Any) -> None:
    axes.plot([entry["step"] for entry in entries], [entry[name] for entry in entries], **style)
