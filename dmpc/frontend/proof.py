"""The import proves itself: recognised layers and the user's own model run on the same input.

The logits are affine in the spike counts of the last layer, so one spike too many shows. Where they
differ by more than rounding, the import is refused, and the place where they part is looked for:
first between the model and the imported timestep, then between that and the recognised layers.
"""

from dataclasses import dataclass

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.models import Model, Reference
from dmpc.ir.graph import Graph, Loc
from dmpc.ir.interpret import interpret
from dmpc.ir.registry import Tensor
from dmpc.reference import OnnxReference
from dmpc.rules import Stage, rule

SAMPLES = 8
STEPS = 32  # of a model that takes sequences of any length
EQUAL = 1e-5  # of the largest logit: rounding of float32; a spike more or less is beyond it
MUST_EQUAL = 3  # samples; in others a spike may flip where a membrane is at threshold in float32
FLIPPED = 0.02  # of the largest logit: more than a flipped spike or two can change

NOT_THE_MODEL = rule(
    "not-the-model",
    Stage.NETWORK,
    "run on the same input, the imported network is not the model: {what}",
    why="""Before a model is compiled, what was imported is run against the file itself, on
    calibration data or on random events. They differ by more than rounding can explain. The model
    may be sound; then the importer misreads it.""",
    nearest="this is a mistake of the importer; please report it together with the file",
)


@dataclass(frozen=True)
class Proof:
    """What the comparison found: relative error of the logits of each sample, largest first."""

    errors: tuple[float, ...]

    @property
    def holds(self) -> bool:
        """True if only spikes at threshold differ."""
        equal = sum(error <= EQUAL for error in self.errors)
        return equal >= min(MUST_EQUAL, len(self.errors)) and self.errors[0] <= FLIPPED


def proof_input(
    inputs: int, steps: int | None, x: Tensor | None, *, binary: bool = False
) -> Tensor:
    """Samples [SAMPLES, timesteps, inputs] on which to compare: `x`, filled up with random ones.

    Half of the random ones are events of several densities, the others values of several sizes,
    or with `binary` events where those are above 0. `steps` is the number of timesteps that the
    model insists on.
    """
    given = np.zeros((0, steps or STEPS, inputs)) if x is None else x[:SAMPLES].astype(np.float64)
    if steps is not None and given.shape[1] != steps:
        given = np.zeros((0, steps, inputs))
    random = np.random.default_rng(0)
    shape = given.shape[1:]
    events = [(random.random(shape) < density).astype(np.float64) for density in (0.1, 0.2, 0.4)]
    values = [random.normal(size=shape) * size for size in (0.5, 1.0, 2.0, 4.0)]
    if binary:
        values = [(value > 0).astype(np.float64) for value in values]
    drawn = [sample for pair in zip([*events, events[0]], values, strict=True) for sample in pair]
    return np.concatenate([given, drawn])[:SAMPLES]


def compare(ours: Tensor, theirs: Tensor) -> Proof:
    """Logits [samples, classes] of two forms of a network."""
    scale = max(float(np.abs(theirs).max(initial=0.0)), 1e-12)
    errors = np.abs(ours - theirs).max(axis=1) / scale
    found = np.nan_to_num(errors, nan=np.inf, posinf=np.inf)
    return Proof(tuple(sorted(map(float, found), reverse=True)))


def prove(model: Model, layers: Graph, x: Tensor | None = None) -> Proof:
    """Compare a model that has a reference with the layers that it became.

    `x` [samples, timesteps, inputs] is input to do so on, next to random input. Raises
    ImportFailure that says what differs, and where first.
    """
    reference, imported = model.reference, model.graph
    assert reference is not None
    (source,) = layers.inputs
    delayed = any(user.kind == "delay" for user in layers.users(source))  # holds events alone
    x = proof_input(layers.types[source].shape[0], reference.steps, x, binary=delayed)
    theirs = reference.logits(x)
    proof = compare(interpret(layers, x).logits, theirs)
    if proof.holds:
        return proof
    many = sum(error > EQUAL for error in proof.errors)
    what = (
        f"logits differ in {many} of {len(proof.errors)} samples, by up to "
        f"{100 * proof.errors[0]:.2g} % of the largest"
    )
    if compare(interpret(imported, x).logits, theirs).holds:
        loc, where = _parting_layer(imported, layers, x)
        what += f"; recognition changes the spikes first {where}"
    else:
        loc, where = _parting_tensor(imported, reference, x)
        what += where and f"; {where}"
    place = f"{model.name}: {loc[0]}" if loc else model.name
    raise ImportFailure.of(NOT_THE_MODEL, where=place, nodes=loc, what=what)


def _parting_layer(imported: Graph, layers: Graph, x: Tensor) -> tuple[Loc, str]:
    """The first neurons whose spikes are not those of the comparison that they were made from."""
    compared = [op for op in imported.ops if op.kind in ("ge", "gt")]
    spikes = [op.results[0] for op in layers.ops if op.kind == "lif"]
    theirs = interpret(imported, x, trace=[op.results[0] for op in compared]).traces
    ours = interpret(layers, x, trace=spikes).traces
    for op in layers.ops:
        same = [c.results[0] for c in compared if set(c.loc) & set(op.loc)]
        if op.kind != "lif" or not same:
            continue
        wanted, found = theirs[same[0]].astype(bool), ours[op.results[0]].astype(bool)
        wrong = min((found != wanted, found == wanted), key=np.count_nonzero)
        if wrong.any():
            step = int(np.argmax(wrong.any(axis=(0, 2))))
            return op.loc, f"in timestep {step} of {op.attrs['layer']}"
    return (), "in the readout"


def _parting_tensor(imported: Graph, reference: Reference, x: Tensor) -> tuple[Loc, str]:
    """The first tensor of the user's file that the imported graph computes otherwise."""
    if not isinstance(reference, OnnxReference):
        return (), ""
    for tensor in reference.tensors(imported, x):
        scale = max(float(np.abs(tensor.theirs).max(initial=0.0)), 1e-12)
        wrong = np.abs(tensor.ours - tensor.theirs) > 1e-3 * scale
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            return (tensor.node,), (
                f"'{tensor.name}' is {tensor.theirs[at]:.6g} at {list(at)}, and imported as "
                f"{tensor.ours[at]:.6g}"
            )
    return (), "the tensors outside of loops agree, so that they part inside of a loop"
