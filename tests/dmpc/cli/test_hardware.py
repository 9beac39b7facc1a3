"""`dmpc export-memories` and `dmpc run --vectors`: folders of files; what may not be written."""

import json


def test_memories_in_a_folder(files, dmpc):
    folder = files.folder / "made" / "here"
    shown = dmpc.ok("export-memories", files.image, "-o", folder)
    index = json.loads((folder / "memories.json").read_text())["files"]
    assert {item["file"] for item in index} | {"memories.v", "memories.json"} == {
        path.name for path in folder.iterdir()
    }
    assert all(item["file"] in shown for item in index)
    told = dmpc.ok("export-memories", files.image, "-o", folder, "--json", "-")
    assert json.loads(told)["files"] == index
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    dmpc.ok("export-memories", files.image, "-o", folder)
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_vectors_of_chosen_samples(files, dmpc):
    folder = files.folder / "vectors"
    run = ("run", files.image, "--input", files.data, "--vectors", folder)
    dmpc.ok(*run, "--samples", "1,3", "--timesteps", "2:5")
    index = json.loads((folder / "vectors.json").read_text())["files"]
    assert {item["file"].split("_")[1] for item in index} == {"1", "3"}
    assert {item["words"] for item in index} == {3}
    assert {"input", "logits"} <= {item["name"] for item in index}


def test_what_is_read_is_not_overwritten(files, dmpc):
    image = files.folder / "program.hex"
    image.write_bytes(files.image.read_bytes())
    said = dmpc.fails("export-memories", image, "-o", files.folder)
    assert "would overwrite what the command reads (IMAGE)" in said
    assert not (files.folder / "memories.v").exists()


def test_what_is_no_folder(files, dmpc):
    assert "cannot write: File exists" in dmpc.fails(
        "export-memories", files.image, "-o", files.data
    )
    inside = files.data / "x"
    assert "cannot write: Not a dir" in dmpc.fails("export-memories", files.image, "-o", inside)
    assert "--samples has no effect without" in dmpc.misused(
        "run", files.image, "--input", files.data, "--samples", "0"
    )
