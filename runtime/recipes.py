"""What makes an `.npz` of samples in another form; the error says it, and docs/samples.md."""

from pathlib import Path

PAGE = "docs/samples.md"
FORM = "samples are an .npz of x [samples, timesteps, inputs] and, where known, labels y [samples]"

_NUMPY = {
    "text": "x = np.loadtxt({name!r}, delimiter=',').reshape(samples, timesteps, inputs)",
    "a MATLAB file": "x = scipy.io.loadmat({name!r})['x']",
    "a file of torch.save": "x = torch.load({name!r}, weights_only=True).numpy()",
}
_HDF5 = "it holds neither spikes/times, as SHD and SSC do, nor NIRData"


def recipe(path: Path | str, kind: str) -> str:
    """What is wrong with a file of samples that is of another `kind`, and what makes it right."""
    saved = Path(path).with_suffix(".npz").name
    if "HDF5" in kind:
        how = f"{_HDF5}; of other data: np.savez({saved!r}, x=x, y=labels); see {PAGE}"
    elif kind in _NUMPY:
        how = f"{_NUMPY[kind].format(name=Path(path).name)}; np.savez({saved!r}, x=x, y=labels)"
    elif not kind and Path(path).suffix == ".bin":
        how = f"raw events, as N-MNIST's, become a list of events: see {PAGE}"
    else:
        how = f"np.savez({saved!r}, x=x, y=labels); see {PAGE}"
    return f"{kind or 'not an .npz file'}; {FORM} ({how})"
