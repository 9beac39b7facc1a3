"""The import proves itself: recognised layers and the user's own model run on the same input.

Where the model shows its neurons' spikes, they are put in place of the layers' own: then every
decision of every neuron must be theirs, unless its charge is at the threshold but for the rounding
of float32, and all logits must be equal. Elsewhere logits alone are compared: they are affine in
the spike counts of the last layer, so one spike too many shows, and a sample that differs must hold
such a tie. What differs otherwise is refused, and the place where the two part is looked for: first
between the model and the imported timestep, then between that and the recognised layers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from dmpc.errors import ImportFailure
from dmpc.frontend.forced import Decision, forced, tied
from dmpc.frontend.models import Model, Reference, held
from dmpc.frontend.onnx_reference import OnnxReference, Series
from dmpc.frontend.proof_input import LEAST, drawn, plan
from dmpc.ir.endless import endless_of
from dmpc.ir.graph import Graph, Loc, Op
from dmpc.ir.integer_types import BEYOND
from dmpc.ir.interpret import interpret, repeats_of, shown
from dmpc.ir.ops_convolution import Convolution, beside
from dmpc.ir.ops_layers import FIRING, takes_events
from dmpc.ir.registry import Tensor
from dmpc.rules import Stage, rule

GIVEN = 8  # samples of the user's
LONGEST = 1024  # timesteps of them: sums in float32 drift with every timestep
GLANCE = 16  # timesteps that tell which comparison of the model is a layer's, and its sign
EQUAL = 1e-5  # of the largest logit: rounding of float32; a spike more or less is beyond it, in
# up to LONGEST timesteps; of a model that insists on more it is more
FLOOR = 0.01  # of the largest logit of all samples: what a sample's own counts for at least
MUST_EQUAL = 3  # samples, where spikes are not seen and a tie may explain the others
FLIPPED = 0.02  # of the largest logit: more than a flipped spike or two can change
TIE_IN_TRANSFORMS = 1e-4  # onnxruntime's DFT is as rough as that; the logits must be near, too
TOO_FEW = f"fewer than {MUST_EQUAL} samples could be compared, ties in float32 explain all others"

NOT_THE_MODEL = rule(
    "not-the-model",
    Stage.NETWORK,
    "run on the same input, the imported network is not the model: {what}",
    why="""Before a model is compiled, what was imported is run against the file itself, on
    calibration data, on random events and values, on silence and on full activity. They differ by
    more than rounding can explain. The model may be sound; then the importer misreads it.""",
    nearest="this is a mistake of the importer; please report it together with the file",
)
BEYOND_FLOAT32 = rule(
    "beyond-float32",
    Stage.NETWORK,
    "run for {steps} timesteps, {what} of {layer} leaves the range of float32 in timestep {step}",
    why="""Infinite numbers are no longer numbers: what the model itself computes from them is
    neither right nor wrong, and the machine, which saturates, would compute something else.""",
    nearest="weights that let nothing grow from timestep to timestep: eigenvalues of a memory "
    "within the unit circle, a leak of 1 at most",
)
GROWING = {"memory": "the memory", "drive": "the drive", "lif": "a membrane"}  # others are sums
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Proof:
    """What the comparison found.

    `errors` are relative errors of the logits of each sample; `excused` tells which of them a tie
    in float32 explains; `wrong` is the first decision of a neuron that is not the model's.
    """

    errors: tuple[float, ...]
    excused: tuple[bool, ...] = ()
    wrong: Decision | None = None

    @property
    def largest(self) -> float:
        """The largest error."""
        return max(self.errors)

    @property
    def fine(self) -> bool:
        """True if nothing speaks against it: only spikes at threshold differ."""
        excused = self.excused or (False,) * len(self.errors)
        pairs = zip(self.errors, excused, strict=True)
        return self.wrong is None and all(error <= EQUAL or tie for error, tie in pairs)

    @property
    def holds(self) -> bool:
        """True if it is fine, and enough samples speak for it."""
        equal = sum(error <= EQUAL for error in self.errors)
        return self.fine and equal >= min(MUST_EQUAL, len(self.errors))

    def plus(self, other: "Proof") -> "Proof":
        """Both."""
        mine, theirs = (one.excused or (False,) * len(one.errors) for one in (self, other))
        return Proof(self.errors + other.errors, mine + theirs, self.wrong or other.wrong)


def compare(ours: Tensor, theirs: Tensor, steps: int = 1) -> Proof:
    """Logits [samples, classes] of two forms of a network, after so many timesteps."""
    sizes = np.abs(theirs).max(axis=1, initial=0.0)
    scale = np.maximum(sizes, max(float(sizes.max(initial=0.0)) * FLOOR, 1e-12))
    scale *= max(1.0, steps / LONGEST)
    errors = np.abs(ours - theirs).max(axis=1) / scale
    found = np.nan_to_num(errors, nan=np.inf, posinf=np.inf)
    return Proof(tuple(map(float, found)))


def prove(model: Model, layers: Graph, x: Tensor | None = None) -> Proof:
    """Compare a model that has a reference with the layers that it became.

    `x` [samples, timesteps, inputs] is input to do so on, next to what `proof_input` draws. Raises
    ImportFailure that says what differs, and where first.
    """
    reference = model.reference
    assert reference is not None
    proof = Proof(())
    for part in (held(one, reference.type) for one in _inputs(reference, layers, x)):
        with np.errstate(over="ignore", invalid="ignore"):  # a state may grow without bound
            part = part[~_beyond(layers, part)]
            if not len(part):
                continue
            theirs, seen = _run(reference, layers, part)
            found = _compared(layers, part, theirs, seen, GLANCE)
            if not found.fine and seen and part.shape[1] > GLANCE:
                found = _compared(layers, part, theirs, seen, part.shape[1])
            if not found.fine:
                raise _failure(model, layers, part, theirs, found)
        proof = proof.plus(found)
    if not (proof.errors and proof.holds):
        raise ImportFailure.of(NOT_THE_MODEL, where=model.name, what=TOO_FEW)
    return proof


def _inputs(reference: Reference, layers: Graph, x: Tensor | None) -> Iterator[Tensor]:
    """Samples to compare on: the user's, where the model takes their timesteps, and drawn ones."""
    (source,) = layers.inputs
    repeats = repeats_of(layers)
    if x is not None and repeats is not None:
        x = shown(layers, x[:, :1])
    fits = x is not None and reference.steps in (None, x.shape[1])
    steps = reference.steps or LONGEST
    given = x[:GIVEN, :steps].astype(np.float64) if x is not None and fits else None
    binary = takes_events(layers)
    if given is not None and binary and not np.isin(given, (0, 1)).all():
        given = None  # which is an error of its own
    if given is not None:
        yield given
    length = reference.steps
    if length is None and not isinstance(reference, OnnxReference):
        length = LEAST if given is None else given.shape[1]  # what a module was traced on
    samples, steps = plan(layers, length, reference.batch)
    made = drawn(layers.types[source].shape[0], samples, steps, binary=binary)
    yield made if repeats is None else shown(layers, made[:, :1])


def _beyond(layers: Graph, x: Tensor) -> Tensor:
    """Samples that make neurons spike more often in a timestep than layers can, where the model
    sets no limit: there they are no longer the model, and do not claim to be."""
    found: Tensor = np.zeros(len(x), np.bool_)
    endless = endless_of(layers)
    traces = interpret(layers, x, trace=endless).traces if endless else {}
    for spikes in traces.values():
        (*_, last) = np.split(spikes, BEYOND, axis=-1)
        found |= last.any(axis=(1, 2))
    return found


def _run(reference: Reference, layers: Graph, x: Tensor) -> tuple[Tensor, Series]:
    """The model's logits, and its comparisons that the layers' neurons may be, if it shows them."""
    if not isinstance(reference, OnnxReference):
        return reference.logits(x), {}
    nodes = {name for op in layers.ops if op.kind in FIRING for name in op.loc}
    return reference.logits_and_spikes(nodes, x)


def _compared(layers: Graph, x: Tensor, theirs: Tensor, seen: Series, steps: int) -> Proof:
    """The comparison, where `steps` timesteps tell which of the model's values spikes are."""
    spikes = _spikes(layers, x[:, :steps], seen)
    return _forced(layers, x, theirs, spikes) if spikes else _free(layers, x, theirs)


def _spikes(layers: Graph, x: Tensor, seen: Series) -> Series:
    """The model's spikes by those of the layers, which run on `x` to tell; none if one is hidden.

    A comparison may be true where there is no spike, and another one may be of the reset.
    """
    lifs = [op for op in layers.ops if op.kind in FIRING]
    if not seen:
        return {}
    ours = interpret(layers, x, trace=[op.results[0] for op in lifs]).traces
    spikes: Series = {}
    for op in lifs:
        mine = ours[op.results[0]].astype(np.bool_)
        steps = mine.shape[1]
        near = [seen[node].astype(np.bool_) for node in op.loc if node in seen]
        both = [one for held in near for one in (held, ~held)]
        either = [one for held in both for one in _orders(layers, op, held, mine.shape[-1])]
        if not either:
            return {}
        spikes[op.results[0]] = min(
            either, key=lambda one: int(np.count_nonzero(one[:, :steps] != mine))
        )
    return spikes


def _orders(layers: Graph, lif: Op, seen: Tensor, neurons: int) -> Iterator[Tensor]:
    """What a model shows of a layer's neurons, in the ways in which they may be those of the layer.

    Neurons of a convolution stand plane by plane in most models, position by position in layers,
    with further outputs where the machine's rows have room.
    """
    shape = (*seen.shape[:-1], neurons)
    if seen.shape == shape:
        yield seen
    own = (op for op in layers.ops if op.attrs["layer"] == lif.attrs["layer"])
    conv = next((op for op in own if op.kind == "conv"), None)
    if conv is None:
        return
    made = Convolution.of(conv.attrs, layers.types[conv.operands[1]].shape)
    places = made.places * beside(conv.attrs)[0]
    outputs, rest = divmod(seen.shape[-1], places)
    more = shape[-1] // places - outputs
    if rest or more < 0:
        return
    planes = seen.reshape(*shape[:-1], outputs, places).swapaxes(-1, -2)
    for one in (planes, seen.reshape(planes.shape)):
        wide = np.pad(one, [(0, 0)] * (planes.ndim - 1) + [(0, more)])
        yield wide.reshape(shape)


def _forced(layers: Graph, x: Tensor, theirs: Tensor, spikes: Series) -> Proof:
    """With the model's spikes in place of the layers' own."""
    found = forced(layers, x, spikes)
    return replace(compare(found.logits, theirs, x.shape[1]), wrong=found.wrong)


def _free(layers: Graph, x: Tensor, theirs: Tensor) -> Proof:
    """With the layers' own spikes; a sample may differ after a tie."""
    proof = compare(interpret(layers, x).logits, theirs, x.shape[1])
    errors = np.array(proof.errors)
    differs = errors > EQUAL
    if not differs.any():
        return proof
    excused = np.zeros(len(x), np.bool_)
    excused[differs] = tied(layers, x[differs])
    few = differs & ~excused & (errors <= FLIPPED)
    if few.any():
        excused[few] = tied(layers, x[few], TIE_IN_TRANSFORMS)
    return replace(proof, excused=tuple(map(bool, excused)))


def _failure(model: Model, layers: Graph, x: Tensor, theirs: Tensor, proof: Proof) -> ImportFailure:
    """What differs, and where the two part; or what grows beyond all numbers."""
    if grown := _overflow(model, layers, x):
        return grown
    imported, reference = model.graph, model.reference
    assert reference is not None
    many = sum(error > EQUAL for error in proof.errors)
    what = (
        f"logits differ in {many} of {len(proof.errors)} samples, by up to "
        f"{100 * proof.largest:.2g} % of the largest"
        if many
        else "spikes differ"
    )
    clear = ~tied(layers, x) & (np.array(proof.errors) > EQUAL)
    if clear.any():  # after a tie all differs, and says nothing
        x, theirs = x[clear], theirs[clear]
    if compare(interpret(imported, x).logits, theirs, x.shape[1]).fine:
        loc, where = _parting_layer(imported, layers, x)
        what += f"; recognition changes the spikes first {where}"
    else:
        loc, where = _parting_tensor(imported, reference, x)
        what += where and f"; {where}"
    if proof.wrong is not None:
        loc, what = loc or proof.wrong.lif.loc, f"{what}; {proof.wrong}"
    place = f"{model.name}: {loc[0]}" if loc else model.name
    return ImportFailure.of(NOT_THE_MODEL, where=place, nodes=loc, what=what)


def _overflow(model: Model, layers: Graph, x: Tensor) -> ImportFailure | None:
    """What leaves float32's range first, in the layers' own timesteps; None if nothing does."""
    made = {name: op for op in layers.ops for name in op.results}
    traces = interpret(layers, x, trace=list(made)).traces
    first: tuple[int, Op] | None = None
    for name, op in made.items():
        beyond = ~(np.abs(traces[name]) <= LARGEST)  # what is no number, too
        step = int(beyond.any(axis=(0, 2)).argmax()) if beyond.any() else None
        if step is not None and (first is None or step < first[0]):
            first = step, op
    if first is None:
        return None
    step, op = first
    name, layer = op.loc[-1] if op.loc else op.results[0], op.attrs.get("layer", "the network")
    return ImportFailure.of(
        BEYOND_FLOAT32, where=f"{model.name}: {name}", nodes=op.loc,
        what=GROWING.get(op.kind, "a sum"), layer=layer, step=step, steps=x.shape[1],
    )  # fmt: skip


def _parting_layer(imported: Graph, layers: Graph, x: Tensor) -> tuple[Loc, str]:
    """The first neurons whose spikes are not those of the comparison that they were made from."""
    compared = [op for op in imported.ops if op.kind in ("ge", "gt")]
    spikes = [op.results[0] for op in layers.ops if op.kind in FIRING]
    theirs = interpret(imported, x, trace=[op.results[0] for op in compared]).traces
    ours = interpret(layers, x, trace=spikes).traces
    for op in layers.ops:
        same = [c.results[0] for c in compared if set(c.loc) & set(op.loc)]
        if op.kind not in FIRING or not same:
            continue
        found = ours[op.results[0]].astype(bool)
        orders = list(_orders(layers, op, theirs[same[0]].astype(bool), found.shape[-1]))
        if not orders:
            continue
        wrong = min(
            (found != wanted for one in orders for wanted in (one, ~one)), key=np.count_nonzero
        )
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
