"""Charts of a report as Vega-Lite: each names its data, which the page fills in.

Nothing is told by colour alone: bars carry labels or differ in height, points in shape, lines in
dashes, and every number that matters stands in a table beside them.
"""

from typing import Any

from dmpc.report.network import LANES

Spec = dict[str, Any]

COLOURS = {
    "busy": "var(--c0)",
    "issue": "var(--c7)",
    "operand": "var(--c5)",
    "slot": "var(--c6)",
    "sums": "var(--c3)",
    "port": "var(--c4)",
    "idle": "var(--line)",
}
"""Of work and waiting by cause; layers take others."""
LAYERS = tuple(f"var(--c{n})" for n in (0, 1, 2, 8, 9, 3, 4, 5, 6))
ROW = 26
"""Height of a row of a chart with one row for each unit or memory."""


def field_of(name: str, kind: str, title: str | None = None, **more: Any) -> Spec:
    """A field of the data as an encoding."""
    return {"field": name, "type": kind, "title": title, **more}


def tips_of(*fields: tuple[str, str]) -> list[Spec]:
    """What is told under the pointer: fields and their titles."""
    return [{"field": name, "title": title} for name, title in fields]


def chart_of(data: str, height: Any, *layers: Spec, **more: Any) -> Spec:
    """Layers of one data set, as wide as the page."""
    return {
        "data": {"name": data},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "layer": list(layers),
        **more,
    }


def network(columns: int) -> Spec:
    """Ops in lanes by pathway, from the input on the left to the logits on the right."""
    x = field_of("x", "quantitative", axis=None, scale={"domain": [-0.6, columns - 0.4]})
    lanes = {
        "labelExpr": f"{[*LANES, 'other']}[datum.value]",
        "values": list(range(len(LANES))),
        "grid": True,
        "ticks": False,
        "domain": False,
    }
    y = field_of("y", "quantitative", axis=lanes, scale={"domain": [len(LANES) - 0.3, -0.5]})
    edge = {
        "data": {"name": "edges"},
        "mark": {"type": "rule", "opacity": 0.45},
        "encoding": {
            "x": x,
            "x2": {"field": "x2"},
            "y": y,
            "y2": {"field": "y2"},
            "strokeDash": field_of(
                "kind",
                "nominal",
                legend=None,
                scale={"domain": ["now", "next timestep"], "range": [[1, 0], [4, 4]]},
            ),
        },
    }
    tips = tips_of(
        ("name", "op"),
        ("kind", "kind"),
        ("layer", "layer"),
        ("path", "pathway"),
        ("size", "size"),
        ("bank", "bank"),
        ("reason", "reason"),
        ("nodes", "nodes"),
    )
    node = {
        "mark": {"type": "point", "filled": True, "size": 130, "opacity": 1},
        "encoding": {
            "x": x,
            "y": y,
            "tooltip": tips,
            "color": field_of("layer", "nominal", "layer"),
            "shape": field_of("layer", "nominal", "layer"),
        },
    }
    text = {
        "mark": {"type": "text", "dy": -13, "fontSize": 10, "limit": 110},
        "encoding": {"x": x, "y": y, "text": field_of("short", "nominal"), "tooltip": tips},
    }
    bank = {
        "mark": {"type": "text", "dy": 14, "fontSize": 9, "color": "var(--quiet)"},
        "encoding": {"x": x, "y": y, "text": field_of("bank", "nominal")},
    }
    return chart_of("nodes", 440, edge, node, text, bank)


def timeline(units: list[str], layers: list[str], cycles: int) -> Spec:
    """What every unit did in a timestep; `start` and `span` are the stretch that is shown."""
    shown = {"domainMin": {"expr": "start"}, "domainMax": {"expr": "start + span"}, "nice": False}
    title = "cycles from the timestep's first instruction"
    x = field_of("since", "quantitative", title, scale=shown, axis={"grid": True})
    y = field_of("unit", "nominal", sort=units)
    looks = {"color": _work_and_waiting(layers), "tooltip": _tips_of_work()}
    encoding = {"x": x, "x2": {"field": "until"}, "y": y, **looks}
    thick = {"height": {"band": 0.86}, "stroke": "#8888", "strokeWidth": 0.5}
    work = _stretches("datum.doing == 'busy'", thick, encoding)
    wait = _stretches("datum.doing != 'busy'", {"height": {"band": 0.28}}, encoding)
    params = [
        _slider("start", 0, 0, cycles, "first cycle "),
        _slider("span", cycles, 20, cycles, "cycles shown "),
    ]
    layered = wait, work, _labels_of_work(x, y)
    return chart_of("timeline", {"step": ROW + 6}, *layered, params=params)


def _tips_of_work() -> list[Spec]:
    return tips_of(
        ("unit", "unit"),
        ("doing", "doing"),
        ("since", "from cycle"),
        ("cycles", "cycles"),
        ("text", "instruction"),
        ("layer", "layer"),
        ("op", "op"),
        ("nodes", "nodes of the model"),
    )


def _work_and_waiting(layers: list[str]) -> Spec:
    """Colours: work by layer, waiting by cause."""
    causes = [cause for cause in COLOURS if cause not in ("busy", "idle")]
    colours = [LAYERS[n % len(LAYERS)] for n in range(len(layers))]
    scale = {
        "domain": [*layers, *(f"waits: {cause}" for cause in causes)],
        "range": [*colours, *(COLOURS[cause] for cause in causes)],
    }
    return field_of("what", "nominal", "work, waiting", scale=scale)


def _stretches(which: str, looks: Spec, encoding: Spec) -> Spec:
    """Bars from cycle to cycle."""
    mark = {"type": "bar", "clip": True, **looks}
    return {"transform": [{"filter": which}], "mark": mark, "encoding": encoding}


def _labels_of_work(x: Spec, y: Spec) -> Spec:
    """What stands in a bar that is wide enough for it."""
    seen = "max(0, min(datum.until, start + span) - max(datum.since, start))"
    wide = f"{seen} / span * width > 7 * length(datum.label)"
    at = {"calculate": "max(datum.since, start)", "as": "at"}
    small = {"align": "left", "dx": 3, "clip": True, "fontSize": 10, "tooltip": None}
    return {
        "transform": [{"filter": wide}, at],
        "mark": {"type": "text", **small},
        "encoding": {"x": {**x, "field": "at"}, "y": y, "text": field_of("label", "nominal")},
    }


def _slider(name: str, value: int, least: int, most: int, title: str) -> Spec:
    bind = {"input": "range", "min": least, "max": most, "step": 1, "name": title}
    return {"name": name, "value": value, "bind": bind}


def shares(data: str, what: str, part: str, order: list[str], title: str) -> Spec:
    """Stacked bars, one for each `what`, of per cents by `part`, each with its name if it fits."""
    exact = {"nice": False}
    x = field_of("share", "quantitative", title, stack="zero", axis={"grid": True}, scale=exact)
    y = field_of(what, "nominal", sort=None)
    common = {"x": x, "y": y, "order": {"field": "order", "type": "quantitative"}}
    scale = {"domain": order, "range": [COLOURS[name] for name in order]} if order else {}
    colour = field_of(part, "nominal", sort=order, scale=scale)
    tips = tips_of((what, what), (part, part), ("share", "per cent"), ("amount", "amount"))
    bar = {
        "mark": {"type": "bar", "stroke": "#8888", "strokeWidth": 0.5},
        "encoding": {**common, "color": colour, "tooltip": tips},
    }
    wide = f"datum.share * width / datum.most > 7 * length(datum.{part})"
    text = {
        "mark": {"type": "text", "fontSize": 10, "tooltip": None},
        "encoding": {
            **common,
            "x": {**x, "bandPosition": 0.5},
            "text": {
                "condition": {"test": wide, "field": part},
                "value": "",
            },
            "detail": {"field": part},
        },
    }
    return chart_of(data, {"step": ROW}, bar, text)
