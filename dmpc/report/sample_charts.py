"""Charts of what samples do inside a network, and of its answers; as `dmpc.report.charts`."""

from dmpc.report.charts import Spec, chart_of, field_of, tips_of

LINES = [f"var(--s{n})" for n in range(8)]
"""Colours of thin lines, which take more contrast than areas."""
HEADER = {"labelOrient": "left", "labelAngle": 0, "labelAlign": "left"}


def _time(steps: int) -> Spec:
    return field_of("t", "quantitative", "timestep", scale={"domain": [0, steps], "nice": False})


def raster(layers: int, steps: int) -> Spec:
    """Spikes by neuron and timestep, layer above layer."""
    return {
        "data": {"name": "raster"},
        "facet": {"row": field_of("layer", "nominal", sort=None, header=HEADER)},
        "spec": {
            "width": 620,
            "height": 150 if layers < 4 else 100,
            "mark": {"type": "tick", "thickness": 2, "orient": "vertical", "height": 2.6},
            "encoding": {
                "x": _time(steps),
                "y": field_of("n", "quantitative", "neuron", axis={"grid": False}),
                "tooltip": tips_of(("layer", "layer"), ("n", "neuron"), ("t", "timestep")),
            },
        },
        "resolve": {"scale": {"y": "independent"}},
    }


def series(data: str, what: str, steps: int) -> Spec:
    """Values over time by layer, a line each for some states or neurons."""
    return {
        "data": {"name": data},
        "facet": {"row": field_of("layer", "nominal", sort=None, header=HEADER)},
        "spec": {
            "width": 620,
            "height": 120,
            "mark": {"type": "line", "strokeWidth": 1.4},
            "encoding": {
                "x": _time(steps),
                "y": field_of("value", "quantitative", None),
                "color": field_of(what, "nominal", what, sort=None, scale={"range": LINES}),
                "strokeDash": field_of(what, "nominal", what, sort=None),
                "tooltip": tips_of(
                    ("layer", "layer"), (what, what), ("t", "timestep"), ("value", "value")
                ),
            },
        },
        "resolve": {
            "scale": {"y": "independent", "color": "independent", "strokeDash": "independent"}
        },
    }


def logits(steps: int) -> Spec:
    """Logits over time: the prediction's and the label's stand out, and carry their class."""
    x = {**_time(steps), "scale": {"domain": [0, steps * 1.06], "nice": False}}
    y = field_of("value", "quantitative", "logit")
    tips = tips_of(("class", "class"), ("role", "is"), ("t", "timesteps"), ("value", "logit"))
    common = {"x": x, "y": y, "detail": {"field": "class"}, "tooltip": tips}
    others = {
        "transform": [{"filter": "datum.role == 'other'"}],
        "mark": {"type": "line", "strokeWidth": 1, "color": "var(--quiet)", "opacity": 0.5},
        "encoding": common,
    }
    roles = ["prediction", "label"]
    dash = field_of("role", "nominal", "class", scale={"domain": roles, "range": [[1, 0], [6, 3]]})
    chosen = {
        "transform": [{"filter": "datum.role != 'other'"}],
        "mark": {"type": "line", "strokeWidth": 2.6},
        "encoding": {**common, "strokeDash": dash},
    }
    name = {
        "transform": [{"filter": f"datum.t == {steps} && datum.role != 'other'"}],
        "mark": {"type": "text", "align": "left", "dx": 4, "fontWeight": "bold"},
        "encoding": {"x": x, "y": y, "text": {"field": "class"}},
    }
    return chart_of("logits", 240, others, chosen, name)


def confusion(classes: int) -> Spec:
    """Samples by label and prediction; shade and number tell how many."""
    x = field_of("prediction", "ordinal", "prediction", axis={"labelAngle": 0, "orient": "top"})
    y = field_of("label", "ordinal", "label")
    tips = tips_of(("label", "label"), ("prediction", "prediction"), ("samples", "samples"))
    step = 26 if classes <= 24 else 14
    cell = {
        "mark": {"type": "rect", "stroke": "#8884", "strokeWidth": 0.5},
        "encoding": {
            "x": x,
            "y": y,
            "tooltip": tips,
            "fillOpacity": field_of(
                "share", "quantitative", legend=None, scale={"domain": [0, 1], "range": [0.04, 1]}
            ),
        },
    }
    text = {
        "transform": [{"filter": "datum.samples > 0"}],
        "mark": {"type": "text", "fontSize": 10 if classes <= 24 else 7, "tooltip": None},
        "encoding": {
            "x": x,
            "y": y,
            "text": field_of("samples", "quantitative"),
            "color": {
                "condition": {"test": "datum.share > 0.5", "value": "var(--paper)"},
                "value": "var(--ink)",
            },
        },
    }
    chart = chart_of("confusion", {"step": step}, cell, text)
    return {**chart, "width": {"step": step}, "autosize": "pad"}


def losses() -> Spec:
    """What each tensor's rounding costs alone, with a bit less and a bit more."""
    x = field_of(
        "value", "quantitative", "spikes that differ, per cent; of the readout, predictions"
    )
    y = field_of("tensor", "nominal", sort=None)
    order = ["a bit less", "alone", "a bit more"]
    shape = field_of("width", "nominal", "width", sort=order)
    point = {
        "mark": {"type": "point", "filled": True, "size": 70},
        "encoding": {
            "x": x,
            "y": y,
            "shape": shape,
            "color": shape,
            "tooltip": tips_of(
                ("tensor", "tensor"), ("bits", "bits"), ("width", "width"), ("value", "per cent")
            ),
        },
    }
    return chart_of("losses", {"step": 18}, point)
