"""Charts of a machine's limits and memories; as `dmpc.report.charts`."""

from dmpc.report.charts import ROW, Spec, chart_of, field_of, tips_of


def roofline(least: float) -> Spec:
    """Operations in a cycle against operations for a row: points of layers, under their roofs."""
    log = {"type": "log", "nice": False}
    x = field_of(
        "intensity",
        "quantitative",
        "lane operations for each row",
        scale={**log, "domain": [0.5, 32]},
        axis={"values": [0.5, 1, 2, 4, 8, 16, 32]},
    )
    y = field_of(
        "reached",
        "quantitative",
        "lane operations in a cycle",
        scale={**log, "domain": [least, 32]},
        axis={"values": [0.001, 0.01, 0.1, 1, 4, 16]},
    )
    roof = {
        "data": {"name": "roofs"},
        "mark": {"type": "line", "strokeWidth": 2, "opacity": 0.7},
        "encoding": {
            "x": x,
            "y": y,
            "detail": {"field": "unit"},
            "strokeDash": field_of("lanes", "ordinal", "lanes of a unit"),
        },
    }
    tips = tips_of(
        ("layer", "layer"),
        ("unit", "unit"),
        ("intensity", "operations a row"),
        ("reached", "operations a cycle, of all"),
        ("working", "while it works"),
        ("roof", "roof"),
    )
    point = {
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
        "encoding": {
            "x": x,
            "y": y,
            "tooltip": tips,
            "color": field_of("layer", "nominal", "layer", sort=None),
            "shape": field_of("layer", "nominal", "layer", sort=None),
        },
    }
    names = [
        {
            "transform": [{"filter": f"datum.side == '{side}'"}],
            "mark": {"type": "text", "align": align, "dx": dx, "fontSize": 10},
            "encoding": {"x": x, "y": y, "text": field_of("unit", "nominal"), "tooltip": tips},
        }
        for side, align, dx in (("left", "right", -8), ("right", "left", 8))
    ]
    return chart_of("roofline", 340, roof, point, *names)


def memory() -> Spec:
    """Rows of every memory by symbol, as shares of its rows."""
    x = field_of(
        "since", "quantitative", "rows, per cent of the memory", scale={"domain": [0, 100]}
    )
    y = field_of("memory", "nominal", sort=None)
    tips = tips_of(
        ("memory", "memory"),
        ("symbol", "symbol"),
        ("rows", "rows"),
        ("count", "of them"),
        ("all", "rows of the memory"),
        ("bits", "bits a row"),
    )
    where = {"x": x, "x2": {"field": "until"}, "y": y, "tooltip": tips}
    bar = {
        "mark": {"type": "bar", "height": {"band": 0.8}, "stroke": "#8888", "strokeWidth": 0.8},
        "encoding": {**where, "color": field_of("layer", "nominal", "layer")},
    }
    text = {
        "transform": [
            {"filter": "(datum.until - datum.since) / 100 * width > 5.5 * length(datum.symbol)"},
            {"calculate": "(datum.since + datum.until) / 2", "as": "at"},
        ],
        "mark": {"type": "text", "fontSize": 10, "tooltip": None},
        "encoding": {"x": {**x, "field": "at"}, "y": y, "text": field_of("symbol", "nominal")},
    }
    return chart_of("memory", {"step": ROW}, bar, text)


def registers(ops: list[str]) -> Spec:
    """Vector registers over the ops of a timestep, in their order."""
    axis = {
        "values": list(range(len(ops))),
        "labelExpr": f"{ops}[datum.value]",
        "labelAngle": -30,
        "labelAlign": "right",
        "labelLimit": 110,
        "grid": True,
    }
    scale = {"domain": [0, len(ops)], "nice": False}
    x = field_of(
        "since", "quantitative", "ops of a timestep, in their order", axis=axis, scale=scale
    )
    y = field_of("register", "nominal", sort=None)
    tips = tips_of(("register", "register"), ("value", "value"), ("lives", "lives"))
    where = {"x": x, "x2": {"field": "until"}, "y": y, "tooltip": tips}
    bar = {
        "mark": {"type": "bar", "height": {"band": 0.8}, "stroke": "#8888", "strokeWidth": 0.8},
        "encoding": {**where, "color": field_of("layer", "nominal", "layer")},
    }
    shown = "(datum.until - datum.since)"
    text = {
        "transform": [
            {"filter": f"{shown} * width / {len(ops)} > 6 * length(datum.value)"},
            {"calculate": "(datum.since + datum.until) / 2", "as": "at"},
        ],
        "mark": {"type": "text", "fontSize": 10, "tooltip": None},
        "encoding": {"x": {**x, "field": "at"}, "y": y, "text": field_of("value", "nominal")},
    }
    return chart_of("registers", {"step": ROW}, bar, text)
