"""The compiler's prediction of cycles, from the graph and its schedule alone."""

import numpy as np

from dmpc.backend.emit import embedded_graph
from dmpc.ir.interpret import interpret
from dmpc.ir.registry import Tensor
from isa.arithmetic import Int
from isa.image import Image
from isa.instructions.neurons import Neurons
from isa.interface import provenance
from isa.prediction import predict_cycles


def predict(image: Image, inputs: Tensor) -> Int:
    """Cycles of each sample of integer `inputs` [samples, timesteps, inputs].

    Activity comes from the integer graph, times from the schedule: the simulator is not asked, and
    must agree.
    """
    graph = embedded_graph(image)
    names = {
        pc: source.values["dest"]
        for pc, (op, source) in enumerate(zip(image.code, provenance(image), strict=True))
        if isinstance(op, Neurons) and op.dest is not None
    }
    traces = interpret(graph, inputs, trace=set(names.values())).traces
    spikes = {pc: traces[name].astype(np.int64) for pc, name in names.items()}
    return predict_cycles(image, inputs.astype(np.int64), spikes)
