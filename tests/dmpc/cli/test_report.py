"""`dmpc report`: the page that it writes, and what it refuses."""

import json

from tests.dmpc.cli.conftest import SAMPLES


def test_it_writes_a_page_beside_the_image(dmpc, files):
    assert dmpc.ok("report", files.image, "--input", files.data) == (
        f"wrote {files.image.with_suffix('.html')}\n"
    )
    text = files.image.with_suffix(".html").read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert "sample 2: prediction" in text


def test_its_json_is_what_run_and_profile_tell(dmpc, shared, tmp_path):
    told = tmp_path / "report.json"
    arguments = ("--input", shared.data, "--json")
    page = dmpc.ok("report", shared.image, *arguments, told, "-o", "-")
    assert page.startswith("<!doctype html>")
    assert page.endswith("</html>\n")
    found = json.loads(told.read_text())
    assert found["profile"] == json.loads(dmpc.ok("profile", shared.image, *arguments, "-"))
    ran = json.loads(dmpc.ok("run", shared.image, *arguments, "-"))
    assert found["accuracy"] == ran["accuracy"]
    assert sum(map(sum, found["confusion"])) == SAMPLES
    assert found["samples"] == [0, 1, 2]


def test_samples_neurons_and_timestep_are_chosen(dmpc, shared, tmp_path):
    path = tmp_path / "a.html"
    chosen = ("--samples", "7,5", "--neurons", "0,2", "--timestep", 3)
    dmpc.ok("report", shared.image, "--input", shared.data, "-o", path, *chosen)
    text = path.read_text("utf-8")
    assert "Timestep 3 of sample 5" in text
    assert text.index('<option value="5">') < text.index('<option value="7">')
    assert '"neuron":"2"' in text
    assert '"neuron":"1"' not in text


def test_a_model_shows_what_quantization_costs(dmpc, shared, tmp_path):
    path, told = tmp_path / "a.html", tmp_path / "a.json"
    arguments = ("--input", shared.data, "--limit", 2, "-o", path, "--json", told)
    dmpc.ok("report", shared.image, *arguments, "--model", shared.model)
    assert "<h2>Quantization loss</h2>" in path.read_text("utf-8")
    losses = json.loads(told.read_text())["losses"]
    assert {"layer1", "readout"} == {loss["layer"] for loss in losses}


def test_what_it_refuses(dmpc, shared, tmp_path):
    out = ("-o", tmp_path / "a.html")
    image, data = ("report", shared.image, "--input", shared.data), shared.data
    assert dmpc.fails(*image, *out, "--samples", "12") == (
        f"{data}: there is no sample 12; the last is 11"
    )
    assert dmpc.fails(*image, *out, "--timestep", 8) == (
        f"{data}: there is no timestep 8; the last is 7"
    )
    assert dmpc.fails(*image, *out, "--neurons", "3,99").startswith(
        f"{data}: there is no neuron 99; the largest layer has "
    )
    assert "neither a number from 0 nor a range" in dmpc.misused(*image, *out, "--samples", "one")
    assert "no effect without --model" in dmpc.misused(*image, *out, "--calibration", data)
    assert "would overwrite" in dmpc.fails(*image, "-o", data)
    assert not out[1].exists()
