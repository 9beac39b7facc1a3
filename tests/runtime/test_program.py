"""A loaded image: encoding of input, results, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest

import runtime
from dmpc import Options
from dmpc import compile as compile_network
from isa.errors import IsaError, Trap
from isa.image import write_image
from isa.instructions import Lif
from isa.interface import INTERFACE, PROVENANCE
from runtime import Program, RuntimeFailure
from tests.networks import Layer, Shape, network, samples

EVENTS = Shape(inputs=4, layers=(Layer(neurons=6, states=3),), samples=5, steps=7, seed=8)
GRADED = replace(EVENTS, graded=True)
IMAGE = compile_network(network(EVENTS)).image
GRADED_IMAGE = compile_network(network(GRADED), options=Options(input_range=(-1.0, 1.0))).image
X = samples(EVENTS)


def program(image=IMAGE):
    return Program(image, "net.elf")


def refused(image, x):
    with pytest.raises(RuntimeFailure) as caught:
        program(image).run(x)
    return str(caught.value)


def test_an_image_from_a_file_runs(tmp_path):
    path = tmp_path / "net.elf"
    write_image(IMAGE, path)
    loaded = runtime.load(path)
    assert (loaded.inputs, loaded.classes, loaded.takes_events) == (4, 3, True)
    assert loaded.run(X).logits.tolist() == program().run(X).logits.tolist()


@pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int64, np.float32])
def test_events_in_any_type_are_the_same_events(kind):
    found = program().run(X.astype(kind))
    assert found.integers.tolist() == program().run(X).integers.tolist()


def test_predictions_are_the_largest_logits_and_logits_the_mean_over_timesteps():
    found = program().run(X)
    scale = program().interface.output.scale
    np.testing.assert_allclose(found.logits, found.integers * scale / X.shape[1])
    assert found.predictions.tolist() == [int(np.argmax(row)) for row in found.logits]
    assert found.cycles.shape == (5,)
    assert (found.cycles > 0).all()
    assert found.timesteps == 7


def test_accuracy_is_the_share_of_labels_met():
    found = program().run(X)
    labels = found.predictions.copy()
    labels[:2] = (labels[:2] + 1) % 3
    assert program().run(X, labels).accuracy == pytest.approx(3 / 5)
    assert found.accuracy is None


@pytest.mark.parametrize("value", [2, -1, 0.5])
def test_anything_else_than_events_is_refused_by_an_event_image(value):
    x = X.astype(float)
    x[3, 2, 1] = value
    message = refused(IMAGE, x)
    assert message.startswith(
        f"x holds {float(value)}, but net.elf was compiled for events, 0 or 1"
    )
    assert "graded" in message


def test_another_width_is_refused():
    assert refused(IMAGE, X[:, :, :3]) == "x has 3 inputs, net.elf was compiled for 4"
    twice = np.concatenate([X, X], axis=2)
    assert refused(IMAGE, twice).endswith(
        "compiled for 4 (events in time can be pooled: --channels 4)"
    )


def test_another_rank_is_refused():
    assert refused(IMAGE, X[0]).startswith("x has shape [7, 4]; it must be")


def test_graded_input_is_rounded_to_steps_and_clipped_ones_are_counted():
    made = program(GRADED_IMAGE)
    source = made.interface.input
    limit = (1 << (source.bits - 1)) - 1
    real = np.array([0.0, 0.4, 0.6, -0.6, 1e9, -1e9, limit, -limit]) * source.scale
    real[4:6] = 1e9, -1e9
    encoded, clipped = made.encode(real.reshape(2, 1, 4))
    assert encoded.ravel().tolist() == [0, 0, 1, -1, limit, -limit, limit, -limit]
    assert clipped == 2


def test_clipped_input_is_reported_among_the_saturations():
    x = samples(GRADED)
    x[0, 0, 0] = 1e6
    assert program(GRADED_IMAGE).run(x).saturations["input"] == 1
    assert "input" not in program(GRADED_IMAGE).run(samples(GRADED)).saturations


def test_json_is_plain_data_of_the_promised_shape():
    found = program().run(X, np.arange(5) % 3)
    data = json.loads(json.dumps(found.to_json()))
    assert {"samples", "accuracy", "totals"} <= set(data)
    assert len(data["samples"]) == 5
    for number, sample in enumerate(data["samples"]):
        assert {"prediction", "label", "logits", "cycles"} <= set(sample)
        assert sample["prediction"] == found.predictions[number]
        assert sample["label"] == number % 3
        assert sample["logits"] == found.logits[number].tolist()
        assert sample["cycles"] == found.cycles[number]
    totals = data["totals"]
    assert totals["cycles"] == int(found.cycles.sum())
    assert totals["timesteps"] == 35
    assert totals["samples"] == 5
    assert totals["memories"]["neuron"]["reads"] == 35 * 2
    assert {"event", "neuron", "drive", "update"} <= set(totals["units"])
    for unit in totals["units"].values():
        assert {"busy", "stalls", "operations"} <= set(unit)


def test_json_without_labels_says_so():
    data = program().run(X).to_json()
    assert data["accuracy"] is None
    assert data["samples"][0]["label"] is None


def test_saturations_are_named_by_layer_and_cause():
    graph = network(EVENTS)
    quiet = np.zeros((1, 3, 4))
    image = compile_network(graph, calibration=quiet).image
    found = program(image).run(np.ones((1, 6, 4)))
    assert found.saturations
    assert all(name.startswith("layer1: ") for name in found.saturations)
    item = next(item for item in found.saturated if item.what == "membrane")
    assert 0 < item.count <= item.total
    assert str(item).startswith(f"layer1: membrane saturated {item.count} of {item.total} times (")
    assert "--calibration" in item.advice
    assert item.to_json() in found.to_json()["totals"]["saturations"]


def test_lanes_that_could_saturate_are_counted_once_for_each_addition():
    """2 samples, 6 timesteps, 6 neurons in 8 lanes; a membrane after events, values and reset."""
    found = program(IMAGE).run(np.zeros((2, 6, 4))).counts.saturable
    by_kind = {}
    for (_, what), number in found.items():
        by_kind[what] = by_kind.get(what, 0) + number
    assert by_kind["drive"] == 2 * 6
    assert by_kind["membrane"] == 2 * 6 * 8 * 3


def test_clipped_input_says_how_much_of_it_and_what_would_help():
    x = samples(GRADED).astype(np.float64)
    x[0, 0, 0] = 1e9
    (item,) = [item for item in program(GRADED_IMAGE).run(x).saturated if item.what == "input"]
    assert (item.count, item.total) == (1, x.size)
    assert str(item).startswith(f"input saturated 1 of {x.size} times")
    assert "--input-range" in item.advice


def with_notes(**changed):
    notes = {name: changed.get(name, data) for name, data in IMAGE.notes.items()}
    kept = {name: data for name, data in notes.items() if data is not None}
    return replace(IMAGE, notes=kept)


def test_an_image_without_an_interface_is_refused():
    with pytest.raises(IsaError) as caught:
        program(with_notes(**{INTERFACE: None}))
    assert str(caught.value).startswith(f"net.elf: the image has no {INTERFACE}, which says how")


def test_without_provenance_layers_are_the_symbols_of_the_code():
    found = program(with_notes(**{PROVENANCE: None})).run(X)
    assert found.logits.tolist() == program().run(X).logits.tolist()
    assert {"layer1.step", "readout.step", "input"} < found.energy.by_layer.keys()


def test_an_interface_that_promises_more_than_is_emitted_is_refused():
    note = IMAGE.notes[INTERFACE].replace(b'"size":3', b'"size":5')
    with pytest.raises(RuntimeFailure, match=r"^net\.elf: the program emits 4 numbers, its inter"):
        program(with_notes(**{INTERFACE: note})).run(X)


def test_a_trap_names_the_image():
    code = [replace(op, row=9) if isinstance(op, Lif) else op for op in IMAGE.code]
    broken = program(replace(IMAGE, code=tuple(code)))
    for run in (broken.run, broken.trace):
        with pytest.raises(Trap, match=r"^net\.elf: trap at pc \d+, cycle \d+: ") as caught:
            run(X)
        assert caught.value.pc is not None


def test_a_missing_image(tmp_path):
    with pytest.raises(IsaError, match=r"none\.elf"):
        runtime.load(tmp_path / "none.elf")


def test_another_engine_can_run_the_image():
    class Echo:
        def run(self, inputs, **options):
            self.seen = inputs
            return program().engine.run(inputs, **options)

    echo = Echo()
    found = Program(IMAGE, "net.elf", echo).run(X)
    assert echo.seen.tolist() == X.astype(int).tolist()
    assert found.integers.tolist() == program().run(X).integers.tolist()


def test_progress_is_told():
    seen = []
    program().run(X, batch=2, progress=seen.append)
    assert sum(seen) == len(X)
    seen.clear()
    program().run(np.concatenate([X] * 16), threads=1, progress=seen.append)
    assert seen == [16] * 5  # it moves within a batch, too


def test_labels_of_no_class_are_refused():
    with pytest.raises(RuntimeFailure, match=r"y\[4\] is 3, which is no class; the network has 3"):
        program().run(X, np.array([0, 1, 2, 0, 3]))
    with pytest.raises(RuntimeFailure, match=r"y has shape \[4\]; it must be \[5\]"):
        program().run(X, np.zeros(4, int))
