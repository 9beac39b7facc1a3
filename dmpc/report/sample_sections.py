"""Sections about samples: what happens inside, the answers, what rounding costs."""

from typing import Any

import numpy as np

from dmpc.report import sample_charts, tables
from dmpc.report.collect import Report
from dmpc.report.parts import Chart, Section
from runtime.html import details, escape, table

MOST_CLASSES = 40
"""Of more classes, cells without samples are left out."""


def samples_section(report: Report) -> Section:
    """Spikes, slow states, membranes and logits of the samples looked into."""
    result, looked = report.result, report.looks
    steps = min(max(int(result.lengths[look.sample]) for look in looked), tables.MOST_STEPS)
    options = []
    for look in looked:
        label = "" if result.labels is None else f", label {result.labels[look.sample]}"
        said = f"sample {look.sample}: prediction {result.predictions[look.sample]}{label}"
        options.append(f'<option value="{look.sample}">{escape(said)}</option>')
    parts: list[str | Chart] = [
        f'<p><label>Look into <select id="sample">{"".join(options)}</select></label></p>'
    ]

    def chart(title: str, name: str, spec: dict[str, Any], make: Any) -> None:
        sets = {str(look.sample): make(look) for look in looked}
        if any(sets.values()):
            parts.extend((f"<h3>{title}</h3>", Chart(name, spec, {name: sets}, title)))

    layers = len(looked[0].spikes) + 1
    chart("Spikes", "raster", sample_charts.raster(layers, steps), tables.raster)
    chart(
        "Slow states",
        "states",
        sample_charts.series("states", "state", steps),
        lambda x: tables.states(report, x),
    )
    chart(
        "Membranes",
        "membranes",
        sample_charts.series("membranes", "neuron", steps),
        lambda x: tables.membranes(report, x),
    )
    chart(
        "Logits, if the sample ended there",
        "logits",
        sample_charts.logits(int(looked[0].moments[-1])),
        lambda x: tables.logits(report, x),
    )
    return Section("samples", "samples", "Inside samples", tuple(parts))


def answers_section(report: Report) -> Section:
    """Accuracy, confusion matrix and wrong answers."""
    result = report.result
    if report.confusion is None or result.labels is None:
        return Section("answers", "answers", "Answers", ("<p>The samples carry no labels.</p>",))
    of = report.confusion.sum(1)
    cells = [
        {
            "label": label,
            "prediction": prediction,
            "samples": number,
            "share": round(number / max(int(of[label]), 1), 3),
        }
        for label, row in enumerate(report.confusion.tolist())
        for prediction, number in enumerate(row)
        if number or len(of) <= MOST_CLASSES
    ]
    chart = Chart(
        "confusion",
        sample_charts.confusion(len(of)),
        {"confusion": [tables.columns(cells)]},
        "Confusion matrix",
    )
    count = len(result.predictions)
    said = f"<p>Accuracy {100 * (result.accuracy or 0):.2f} % of {count:,} samples.</p>"
    wrong = [
        (n, int(result.predictions[n]), int(result.labels[n]), int(result.cycles[n]))
        for n in np.flatnonzero(result.predictions != result.labels).tolist()
    ]
    columns = ("sample", "prediction", "label", "cycles")
    listed = details(f"{len(wrong)} wrong answers", table("", columns, wrong, text=0))
    return Section("answers", "answers", "Answers", (said, chart, listed if wrong else ""))


def losses_section(report: Report) -> Section | None:
    """Quantization loss by tensor, if it was measured."""
    if not report.losses:
        return None
    rows, points = [], []
    for loss in report.losses:
        name = f"{loss.source.layer} {loss.source.tensor}"
        told = {"a bit less": loss.less, "alone": loss.only, "a bit more": loss.more}
        points += [
            {"tensor": name, "bits": loss.bits, "width": width, "value": round(100 * value, 4)}
            for width, value in told.items()
            if value is not None
        ]
        cells = ("" if v is None else f"{100 * v:.2f}" for v in (*told.values(), loss.without))
        rows.append((name, loss.bits, *cells))
    chart = Chart(
        "losses",
        sample_charts.losses(),
        {"losses": [tables.columns(points)]},
        "Quantization loss by tensor",
    )
    note = (
        "<p>Each tensor rounded alone: spikes of its layer that differ, fed with float spikes.</p>"
    )
    columns = ("tensor", "bits", "a bit less", "alone", "a bit more", "all but it")
    return Section(
        "losses",
        "quantization",
        "Quantization loss",
        (note, chart, table("per cent", columns, rows)),
    )
