#!/usr/bin/env python3
"""Draws the plots of the README from what the benches printed.

    python3 -m venv /tmp/plot && /tmp/plot/bin/pip install matplotlib && /tmp/plot/bin/python benches/plot.py

reads benches/plots/peers.txt (benches/peers.sh), depth.txt (cargo bench --bench queue -- depth) and start.txt (cargo bench --bench latency -- start);
writes peers.svg, depth.svg and start.svg beside them. What is missing is left out.
"""

import pathlib
import re
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "distcomp", "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
import matplotlib.pyplot as plt

PLOTS = pathlib.Path(__file__).parent / "plots"
OURS, OTHERS = "#c2410c", "#64748b"


def save(figure, name):
    figure.tight_layout()
    figure.savefig(PLOTS / f"{name}.svg", metadata={"Date": None})
    print(PLOTS / f"{name}.svg")


def peers(text):
    rows = re.findall(r"^(\S.*?)\s{2,}(\d+)\s+[\d.]+$", text, re.M)
    rows = sorted(((name, int(rate)) for name, rate in rows), key=lambda row: row[1])
    figure, axes = plt.subplots(figsize=(7, 0.42 * len(rows) + 0.9))
    bars = axes.barh([name for name, _ in rows], [rate for _, rate in rows], color=[OURS if name == "DistComp" else OTHERS for name, _ in rows])
    axes.bar_label(bars, padding=3)
    axes.set_xlabel("tasks a second, sh -c true, 4 at a time")
    save(figure, "peers")


def depth(text):
    rows = [tuple(map(float, row)) for row in re.findall(r"^\s*(\d+)\s+(\d+)\s+([\d.]+)\s+([\d.]+)\s", text, re.M)]
    plain = [row for row in rows if row[1] == 0]
    figure, axes = plt.subplots(figsize=(7, 3.2))
    axes.plot([row[0] for row in plain], [row[2] for row in plain], "o-", color=OURS, label="claim, exact order, claims of 64")
    axes.plot([row[0] for row in plain], [row[3] for row in plain], "o-", color=OTHERS, label="plain HDEL + HSET at that depth")
    failed = [row for row in rows if row[1] > 0]
    axes.plot([row[0] for row in failed], [row[2] for row in failed], "x", color=OURS, label="claim with 100,000 failed tasks")
    axes.set(xscale="log", ylim=(0, None), xlabel="tasks waiting", ylabel="server's time per task, µs")
    axes.legend(frameon=False)
    save(figure, "depth")


def start(text):
    values = [float(value) for value in re.search(r"every twentieth: ([\d. ]+)", text)[1].split()]
    tail = dict(re.findall(r"(p99|most) ([\d.]+) ms", text))
    figure, axes = plt.subplots(figsize=(7, 3))
    axes.plot(values + [float(tail["p99"])], [5 * (i + 1) for i in range(len(values))] + [99], "o-", ms=3, color=OURS)
    axes.set(xlim=(0, None), ylim=(0, 100), xlabel="ms from submission to the first instruction of the task's shell", ylabel="% of tasks")
    save(figure, "start")


for name, draw in [("peers", peers), ("depth", depth), ("start", start)]:
    path = PLOTS / f"{name}.txt"
    if path.exists():
        draw(path.read_text())
    else:
        print(f"{path} is not there: left out", file=sys.stderr)
