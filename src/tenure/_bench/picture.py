"""Pictures of latency distributions, as PNG (by matplotlib) and as one HTML page that needs nothing but itself.

Both show the same: the density of each kind of call over a logarithmic axis of latency with p50, p99 and p99.9 marked,
and below it the percentiles up to the slowest call. The skeleton, where there is one, is a thin grey line.
"""

from __future__ import annotations

import html
import json
import math
import platform
from typing import TYPE_CHECKING, Any

from tenure._bench.timing import percentile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tenure._bench.results import Finding, Shape

__all__ = ["MissingMatplotlib", "write_html", "write_png"]

COLOURS = ("#0f766e", "#4f46e5", "#c2410c")
BARE_COLOUR = "#94a3b8"
INK, MUTED, GRID = "#0f172a", "#64748b", "#e2e8f0"
MARKS = (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
STEPS_A_DECADE = 40


class MissingMatplotlib(RuntimeError):
    """The extra that draws is not installed."""


def spoken(nanoseconds: float) -> str:
    """Three digits and a unit: 84 ns, 1.26 µs, 310 µs."""
    for unit, size in (("ns", 1), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)):
        value = nanoseconds / size
        if value < 999.5 or unit == "s":
            return f"{value:.0f} {unit}" if value >= 99.5 or unit == "ns" else f"{value:.3g} {unit}"
    raise AssertionError


def decades(shapes: Sequence[Shape]) -> tuple[int, int]:
    """The powers of ten around all timings."""
    least = min(min(shape.nanoseconds) for shape in shapes)
    most = max(max([*shape.nanoseconds, *shape.bare]) for shape in shapes)
    return math.floor(math.log10(max(1, least))), math.ceil(math.log10(max(10, most)))


def density(nanoseconds: Iterable[int], low: int, high: int) -> list[tuple[float, float]]:
    """(log10 of latency, height): a smoothed histogram over the logarithm, its peak at 1."""
    bins = (high - low) * STEPS_A_DECADE
    counts = [0.0] * bins
    for value in nanoseconds:
        at = int((math.log10(max(1, value)) - low) * STEPS_A_DECADE)
        counts[min(bins - 1, max(0, at))] += 1
    kernel = [math.exp(-0.5 * (offset / 1.3) ** 2) for offset in range(-4, 5)]
    smooth = [
        sum(counts[i + k - 4] * weight for k, weight in enumerate(kernel) if 0 <= i + k - 4 < bins) for i in range(bins)
    ]
    peak = max(smooth) or 1.0
    return [(low + (i + 0.5) / STEPS_A_DECADE, height / peak) for i, height in enumerate(smooth)]


def tail(nanoseconds: Iterable[int]) -> list[tuple[float, float]]:
    """(fraction of calls, latency), closer and closer to all of them, as far as the number of calls goes."""
    ordered = sorted(nanoseconds)
    fractions = [1 - 10 ** (-step / 20) for step in range(int(20 * math.log10(len(ordered))) + 1)]
    return [(fraction, percentile(ordered, fraction)) for fraction in fractions]


def marks(nanoseconds: Iterable[int]) -> list[tuple[str, float]]:
    """The percentiles that are named in the picture."""
    ordered = sorted(nanoseconds)
    return [(name, percentile(ordered, fraction)) for name, fraction in MARKS]


def subtitle() -> str:
    """Where it was measured."""
    return f"three members on one machine, real fdatasync, one caller · {platform.system()} {platform.machine()}"


# ---------------------------------------------------------------------------------------------------------------- PNG


def write_png(shapes: Sequence[Shape], path: Path) -> None:
    """Draw the distributions.

    Raises:
        MissingMatplotlib: the extra `bench` is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise MissingMatplotlib("the picture needs the extra `bench`: pip install 'tenure[bench]'") from error
    low, high = decades(shapes)
    figure = Figure(figsize=(11, 8.2), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, gridspec_kw={"height_ratios": [1.25, 1], "hspace": 0.3})
    figure.subplots_adjust(left=0.135, right=0.965, top=0.875, bottom=0.065)
    figure.text(0.03, 0.955, "How long a call takes", fontsize=17, fontweight="bold", color=INK)
    figure.text(0.03, 0.925, subtitle(), fontsize=10, color=MUTED)
    draw_densities(upper, shapes, low, high)
    draw_tails(lower, shapes, low, high)
    figure.savefig(path)


def label_decades(axis: Any, low: int, high: int) -> None:
    axis.set_ticks([10.0**power for power in range(low, high + 1)])
    axis.set_ticklabels([spoken(10.0**power) for power in range(low, high + 1)])


def tidy(axes: Any) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(length=0, labelcolor=MUTED, labelsize=9)
    axes.tick_params(which="minor", length=0)
    axes.set_axisbelow(True)


def draw_densities(axes: Any, shapes: Sequence[Shape], low: int, high: int) -> None:
    axes.set_xscale("log")
    for row, (shape, colour) in enumerate(zip(reversed(shapes), reversed(COLOURS[: len(shapes)]), strict=True)):
        points = density(shape.nanoseconds, low, high)
        x = [10**at for at, _ in points]
        top = [row + 0.66 * height for _, height in points]
        axes.fill_between(x, row, top, color=colour, alpha=0.22, linewidth=0)
        axes.plot(x, top, color=colour, linewidth=1.6)
        if shape.bare:
            bare = [row + 0.66 * height for _, height in density(shape.bare, low, high)]
            axes.plot(x, bare, color=BARE_COLOUR, linewidth=1.2, linestyle=(0, (4, 2)))
            rising = next(i for i, height in enumerate(bare) if height - row >= 0.3)
            axes.annotate(
                "skeleton", (x[rising], bare[rising]), xytext=(-5, 0), textcoords="offset points", ha="right",
                fontsize=8, color=MUTED,
            )  # fmt: skip
        named = marks(shape.nanoseconds)
        crowded = named[2][1] < named[1][1] * 10 ** ((high - low) * 0.1)
        for name, value in named:
            # below the line; p50 to its left and the tail to its right, where p99 makes room for a p99.9 close by
            side, shift = ("right", -4) if name == "p50" else ("left", 4)
            level = 0.19 if crowded and name == "p99" else 0.05
            axes.plot([value, value], [row - level - 0.09, row + 0.06], color=colour, linewidth=1.6)
            axes.annotate(
                f"{name}  {spoken(value)}", (value, row - level), xytext=(shift, 0), textcoords="offset points",
                fontsize=8.5, color=INK, ha=side, va="top",
            )  # fmt: skip
        axes.text(
            -0.012, row + 0.04, shape.name, transform=axes.get_yaxis_transform(), ha="right", fontsize=10.5,
            fontweight="bold", color=colour,
        )  # fmt: skip
        axes.axhline(row, color=GRID, linewidth=1, zorder=0)
    axes.set_xlim(10.0**low, 10.0**high)
    axes.set_ylim(-0.36, len(shapes) - 0.26)
    axes.set_yticks([])
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    label_decades(axes.xaxis, low, high)
    axes.set_title("latency of single calls, logarithmic", fontsize=9.5, color=MUTED, loc="left")
    tidy(axes)


def draw_tails(axes: Any, shapes: Sequence[Shape], low: int, high: int) -> None:
    most = 0.0
    for shape, colour in zip(shapes, COLOURS, strict=False):
        for values, style, width, ink, name in (
            (shape.bare, (0, (4, 2)), 1.2, BARE_COLOUR, None),
            (shape.nanoseconds, "-", 2.0, colour, shape.name),
        ):
            if not values:
                continue
            points = tail(values)
            x = [-math.log10(1 - fraction) for fraction, _ in points]
            axes.plot(x, [value for _, value in points], color=ink, linewidth=width, linestyle=style)
            if name:
                axes.annotate(
                    name, (x[-1], points[-1][1]), xytext=(5, 0), textcoords="offset points", va="center",
                    fontsize=9.5, fontweight="bold", color=colour,
                )  # fmt: skip
            most = max(most, x[-1])
    axes.set_yscale("log")
    axes.set_ylim(10.0**low, 10.0**high)
    axes.set_xlim(0, most * 1.14)
    ticks = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999]
    shown = [tick for tick in ticks if -math.log10(1 - tick) <= most]
    axes.set_xticks([-math.log10(1 - tick) for tick in shown])
    axes.set_xticklabels(["", *(f"{100 * tick:g} %" for tick in shown[1:])])
    axes.grid(color=GRID, linewidth=0.8)
    label_decades(axes.yaxis, low, high)
    axes.set_title("share of calls that are at least as fast", fontsize=9.5, color=MUTED, loc="left")
    tidy(axes)


# --------------------------------------------------------------------------------------------------------------- HTML


def write_html(shapes: Sequence[Shape], findings: Sequence[Finding], path: Path) -> None:
    """Write the page: the same two drawings, with a reading under the pointer, and the table of findings."""
    low, high = decades(shapes)
    data = {
        "low": low,
        "high": high,
        "shapes": [
            {
                "name": name,
                "colour": colour,
                "row": row,
                "bare": is_bare,
                "n": len(values),
                "density": [[round(x, 4), round(y, 4)] for x, y in density(values, low, high)],
                "tail": [[round(-math.log10(1 - f), 4), v] for f, v in tail(values)],
                "marks": marks(values),
            }
            for row, (shape, own) in enumerate(zip(shapes, COLOURS, strict=False))
            for name, colour, is_bare, values in (
                (f"{shape.name}: skeleton", BARE_COLOUR, True, shape.bare),
                (shape.name, own, False, shape.nanoseconds),
            )
            if values
        ],
    }
    text = PAGE.replace("@SUBTITLE@", html.escape(subtitle()))
    text = text.replace("@ROWS@", "\n".join(map(table_row, findings)))
    # the only thing in JSON that could end a script element early
    text = text.replace("@DATA@", json.dumps(data).replace("</", "<\\/"))
    path.write_text(text, encoding="utf-8")


def number(value: float | None) -> str:
    """For people: four digits that count."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table_row(finding: Finding) -> str:
    verdict = {None: "", True: '<span class="yes">met</span>', False: '<span class="no">missed</span>'}[finding.met]
    against = number(finding.reference) + (
        f" <small>{finding.reference_name}</small>" if finding.reference_name else ""
    )
    cells = (
        html.escape(finding.name) + (f"<br><small>{html.escape(finding.note)}</small>" if finding.note else ""),
        number(finding.value),
        html.escape(finding.unit),
        against,
        "" if finding.ratio is None else f"{finding.ratio:.2f}",
        html.escape(str(finding.goal or "")),
        verdict,
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>tenure bench</title>
<style>
:root{--ink:#0f172a;--muted:#64748b;--grid:#e2e8f0;--paper:#fff;--card:#f8fafc}
@media (prefers-color-scheme:dark){:root{--ink:#e2e8f0;--muted:#94a3b8;--grid:#273449;--paper:#0b1220;--card:#111a2c}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;padding:2rem 1.2rem;
 max-width:1080px}
h1{font-size:1.5rem;margin:0}p{color:var(--muted);margin:.2rem 0 1.4rem}
h2{font-size:.95rem;font-weight:500;color:var(--muted);margin:1.6rem 0 .3rem}
svg{width:100%;height:auto;display:block;touch-action:pan-y}
svg text{fill:var(--muted);font-size:12px}svg text.name{font-weight:600;font-size:13px}svg text.mark{fill:var(--ink)}
.grid{stroke:var(--grid)}.cross{stroke:var(--muted);stroke-dasharray:3 3}
.halo{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}
#tip{position:fixed;pointer-events:none;background:var(--card);border:1px solid var(--grid);border-radius:8px;
 padding:.5rem .7rem;font-size:13px;box-shadow:0 4px 18px #0002;opacity:0;transition:opacity .1s;white-space:nowrap}
#tip i{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.5em}
#tip b{float:right;padding-left:1.4em}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{font-weight:500;color:var(--muted);text-align:left;font-size:13px}
td,th{padding:.38rem .6rem;border-bottom:1px solid var(--grid);vertical-align:top}
td:nth-child(2),td:nth-child(5){text-align:right;font-weight:600}small{color:var(--muted)}
.yes{color:#0f9d6b;font-weight:600}.no{color:#e0533d;font-weight:600}
</style></head><body>
<h1>How long a call takes</h1><p>@SUBTITLE@</p>
<h2>latency of single calls, logarithmic; dashed: the skeleton, the same hops and syncs with nothing on them</h2>
<svg id="shape" viewBox="0 0 1040 440" role="img" aria-label="densities of latencies"></svg>
<h2>share of calls that are at least as fast</h2>
<svg id="tail" viewBox="0 0 1040 400" role="img" aria-label="percentiles of latencies"></svg>
<h2>findings</h2>
<div class="wide"><table><thead><tr><th>name</th><th>value</th><th>unit</th><th>reference</th><th>ratio</th>
<th>goal</th><th></th></tr></thead><tbody>
@ROWS@
</tbody></table></div>
<div id="tip"></div>
<script type="application/json" id="data">@DATA@</script>
<script>
"use strict";
const D = JSON.parse(document.getElementById("data").textContent), tip = document.getElementById("tip");
const NS = "http://www.w3.org/2000/svg", W = 1040, L = 120, R = 30;
function add(to, kind, attributes, text) {
  const e = document.createElementNS(NS, kind);
  for (const k in attributes) e.setAttribute(k, attributes[k]);
  if (text !== undefined) e.textContent = text;
  return to.appendChild(e);
}
function spoken(ns) {
  for (const [unit, size] of [["ns", 1], ["µs", 1e3], ["ms", 1e6], ["s", 1e9]]) {
    const v = ns / size;
    if (v < 999.5 || unit === "s") return (v >= 99.5 || unit === "ns" ? v.toFixed(0) : +v.toPrecision(3)) + " " + unit;
  }
}
function show(event, lines) {
  tip.replaceChildren();
  for (const [colour, left, right] of lines) {
    const row = document.createElement("div"), strong = document.createElement("b");
    strong.textContent = right;
    row.append(strong);
    if (colour) { const dot = document.createElement("i"); dot.style.background = colour; row.append(dot); }
    row.append(left);
    tip.append(row);
  }
  tip.style.opacity = 1;
  const x = event.clientX + 16, y = event.clientY + 16;
  tip.style.left = Math.max(4, Math.min(x, innerWidth - tip.offsetWidth - 12)) + "px";
  tip.style.top = (y + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 12 : y) + "px";
}
function pointer(svg, cross, area, tell) {
  svg.addEventListener("pointermove", event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
    if (at < L || at > W - R) { cross.style.display = "none"; tip.style.opacity = 0; return; }
    cross.style.display = ""; cross.setAttribute("x1", at); cross.setAttribute("x2", at);
    show(event, tell((at - L) / area));
  });
  svg.addEventListener("pointerleave", () => { cross.style.display = "none"; tip.style.opacity = 0; });
}
(function shape() {
  const svg = document.getElementById("shape"), own = D.shapes.filter(s => !s.bare), H = 440, bottom = 405;
  const row = (bottom - 10) / own.length, area = W - L - R, span = D.high - D.low;
  const X = p => L + (p - D.low) / span * area, Y = (r, h) => 10 + row * (r + 0.72) - h * row * 0.66;
  for (let p = D.low; p <= D.high; p++) {
    add(svg, "line", {class: "grid", x1: X(p), x2: X(p), y1: 6, y2: bottom});
    add(svg, "text", {x: X(p), y: H - 12, "text-anchor": "middle"}, spoken(10 ** p));
  }
  for (const s of D.shapes) {
    const line = s.density.map(([x, y]) => X(x) + "," + Y(s.row, y)).join("L");
    if (!s.bare) {
      add(svg, "line", {class: "grid", x1: L, x2: W - R, y1: Y(s.row, 0), y2: Y(s.row, 0)});
      const area = `M${X(D.low)},${Y(s.row, 0)}L${line}L${X(D.high)},${Y(s.row, 0)}Z`;
      add(svg, "path", {d: area, fill: s.colour, opacity: .22});
      const name = add(svg, "text", {class: "name", x: L - 10, y: Y(s.row, .1), "text-anchor": "end"}, s.name);
      name.style.fill = s.colour;
    }
    add(svg, "path", {d: "M" + line, fill: "none", stroke: s.colour, "stroke-width": s.bare ? 1.3 : 2,
      "stroke-dasharray": s.bare ? "5 3" : "none"});
  }
  for (const s of own) {
    const at = s.marks.map(([_, ns]) => X(Math.log10(ns))), crowded = at[2] - at[1] < 100, y = Y(s.row, 0);
    s.marks.forEach(([name, ns], i) => {
      const left = i === 0, down = crowded && i === 1 ? 36 : 18;
      add(svg, "line", {x1: at[i], x2: at[i], y1: y - 8, y2: y + down, stroke: s.colour, "stroke-width": 2});
      add(svg, "text", {class: "mark halo", x: at[i] + (left ? -5 : 5), y: y + down - 2,
        "text-anchor": left ? "end" : "start"}, `${name}  ${spoken(ns)}`);
    });
  }
  const cross = add(svg, "line", {class: "cross", y1: 6, y2: bottom});
  cross.style.display = "none";
  pointer(svg, cross, area, at => {
    const power = D.low + at * span, ns = 10 ** power;
    return [["", "faster than", spoken(ns)]].concat(D.shapes.map(s => {
      let share = 0;
      for (const [x, v] of s.tail) if (v <= ns) share = 1 - 10 ** -x;
      const all = ns >= s.tail[s.tail.length - 1][1];
      return [s.colour, s.name, all ? "all" : (100 * share).toFixed(share > .99 ? 2 : 1) + " %"];
    }));
  });
})();
(function tail() {
  const svg = document.getElementById("tail"), H = 400, top = 10, bottom = 360, area = W - L - R;
  const most = Math.max(...D.shapes.map(s => s.tail[s.tail.length - 1][0])) * 1.12;
  const X = x => L + x / most * area, Y = ns => bottom - (Math.log10(ns) - D.low) / (D.high - D.low) * (bottom - top);
  for (let p = D.low; p <= D.high; p++) {
    add(svg, "line", {class: "grid", x1: L, x2: W - R, y1: Y(10 ** p), y2: Y(10 ** p)});
    add(svg, "text", {x: L - 10, y: Y(10 ** p) + 4, "text-anchor": "end"}, spoken(10 ** p));
  }
  for (const f of [0, .5, .9, .99, .999, .9999, .99999]) {
    const x = -Math.log10(1 - f);
    if (x > most) break;
    add(svg, "line", {class: "grid", x1: X(x), x2: X(x), y1: top, y2: bottom});
    add(svg, "text", {x: X(x), y: H - 18, "text-anchor": "middle"}, f ? +(100 * f).toFixed(3) + " %" : "");
  }
  for (const s of D.shapes) {
    const end = s.tail[s.tail.length - 1];
    add(svg, "path", {d: "M" + s.tail.map(([x, v]) => X(x) + "," + Y(v)).join("L"), fill: "none", stroke: s.colour,
      "stroke-width": s.bare ? 1.3 : 2.4, "stroke-dasharray": s.bare ? "5 3" : "none"});
    if (!s.bare) {
      const name = add(svg, "text", {class: "name halo", x: X(end[0]) + 6, y: Y(end[1]) + 4}, s.name);
      name.style.fill = s.colour;
    }
  }
  const cross = add(svg, "line", {class: "cross", y1: top, y2: bottom});
  cross.style.display = "none";
  pointer(svg, cross, area, at => {
    const x = at * most, share = 100 * (1 - 10 ** -x);
    return [["", "of all calls", share.toFixed(x > 2 ? 3 : 1) + " %"]].concat(D.shapes.map(s => {
      let ns = s.tail[0][1];
      for (const [place, v] of s.tail) if (place <= x) ns = v;
      return [s.colour, s.name, x > s.tail[s.tail.length - 1][0] ? "\\u2013" : "within " + spoken(ns)];
    }));
  });
})();
</script>
</body></html>
"""
