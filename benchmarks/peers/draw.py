"""Draws plots as SVG, the same bytes for the same points: ``FOLDER``, and the plots of results.py as JSON on stdin."""

import json
import math
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams.update({"svg.hashsalt": "qctl", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10})
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import NullFormatter, StrMethodFormatter  # noqa: E402

for plot in json.load(sys.stdin):
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for name, points in plot["lines"].items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o" if len(points) < 30 else None, label=name)
    axes.set(title=plot["title"], xlabel=plot["x"], ylabel=plot["y"])
    for axis, is_log in ((axes.xaxis, plot["log_x"]), (axes.yaxis, plot["log_y"])):
        if is_log:
            getattr(axes, f"set_{axis.axis_name}scale")("log")
            axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    places = sorted({x for points in plot["lines"].values() for x, _ in points})
    if len(places) < 8:
        axes.set_xticks(places)
    if not plot["log_y"]:
        axes.set_ylim(bottom=0)
    else:
        # Whole decades, or two lines that hardly differ look far apart.
        values = [y for points in plot["lines"].values() for _, y in points]
        axes.set_ylim(10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values))))
    axes.grid(alpha=0.3)
    if len(plot["lines"]) > 1:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(Path(sys.argv[1]) / f"{plot['name']}.svg", metadata={"Date": None})
    plt.close(figure)
