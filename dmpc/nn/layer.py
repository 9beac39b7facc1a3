"""One spiking layer, with any of the memories that the paper compares."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dmpc.nn.delays import AxonalDelays
from dmpc.nn.dynamics import NeuronState
from dmpc.nn.leak import Each, Leak, Receptors
from dmpc.nn.lif import LIF
from dmpc.nn.memory import LegendreMemory
from dmpc.nn.planes import Convolution, Pool
from dmpc.nn.sizes import check_whole


class LayerState(NamedTuple):
    """What a layer carries from one timestep to the next; empty where it has no use for it."""

    membrane: Tensor  # [batch, neurons]
    memory: Tensor  # [batch, memory states]
    held: Tensor  # [batch, memory states], the memory that the slow current reads
    timestep: Tensor  # [batch, 1], the number of the timestep to come
    before: Tensor  # [batch, neurons], the last spikes, of a recurrent layer
    past: Tensor  # [batch, longest delay, axons], the last inputs, the latest first
    synapse: Tensor  # [batch, receptors * neurons], the synaptic currents
    adaptation: Tensor  # [batch, neurons], by what neurons adapt
    resting: Tensor  # [batch, neurons], for how many timesteps neurons still rest


class SlowPath(NamedTuple):
    """The modules of a layer's slow path."""

    drive: nn.Linear
    memory: LegendreMemory
    slow: nn.Linear


class DMPLayer(nn.Module):
    """`neurons` spiking neurons with a fast synaptic path and a slow shared memory.

    Paper, section on the DMP layer: fast current `W_f s + b_f`, scalar drive
    `relu(W_x s + b_x)`, Legendre memory of the drive, slow current `W_m m + b_m`, and LIF
    neurons on the sum of both currents. A `linear_drive` is `W_x s + b_x`, as that of LMUs before
    DMP. With a dilation, the slow current reads the memory of the
    last timestep whose number, from 0, is a multiple of it.

    The families that the paper compares DMP with are the same layer with another memory, or none:
    `memory=0` alone is FSNN; `recurrent` adds `W_r s_out[k-1]`, RSNN; `delays` gives every input a
    learned axonal delay of 0 .. `delays` timesteps, DSNN. They can be combined.

    With `alpha` neurons have a synaptic current each: `i[k] = alpha i[k-1]` plus all currents of
    the timestep, recurrent ones too, takes their place, and charges the membrane in the same
    timestep. It is a number or one for each neuron, above 0 and below 1 (`exp(-1 / tau)`), and is
    trained with `learn_alpha`. With `Receptors(alpha, ...)` neurons have as many currents, each
    with weights and biases of its own on every path: `W_f`, `W_m` and `W_r` have a row for each
    receptor of each neuron, those of the first receptor first; all currents charge the membrane.

    With `convolution` that is the fast path, in place of `W_f s + b_f`, and says how many `inputs`
    and `neurons` there are: those of a front end, plane by plane. With `pool` all paths read its
    results, the layer's `axons`, in place of the inputs.

    Parameters: `inputs` (M), `neurons` (N), `memory` (d, the number of memory states), `window`
    in timesteps, `lif`, of which the layer has as many as neurons (default: beta 0.5, gain 0.5,
    threshold 1, hard reset to 0), `dilation` in timesteps (1: the slow current reads every
    timestep's memory). Raises ValueError if a size or `dilation` is below 1, `memory` or `delays`
    below 0, one of them is no whole number, or a memory has no window of at least 1.
    """

    def __init__(
        self,
        inputs: int,
        neurons: int,
        memory: int = 0,
        window: float | None = None,
        lif: LIF | None = None,
        dilation: int = 1,
        *,
        recurrent: bool = False,
        delays: int = 0,
        alpha: Each | Receptors | None = None,
        learn_alpha: bool = False,
        linear_drive: bool = False,
        convolution: Convolution | None = None,
        pool: Pool | None = None,
    ) -> None:
        super().__init__()
        self.inputs = check_whole("DMPLayer", "inputs", inputs, 1)
        self.pool = pool
        self.axons = self.inputs if pool is None else math.prod(pool.results)
        self.neurons = check_whole("DMPLayer", "neurons", neurons, 1)
        self.dilation = check_whole("DMPLayer", "dilation", dilation, 1)
        memory = check_whole("DMPLayer", "memory", memory, 0)
        delays = check_whole("DMPLayer", "delays", delays, 0)
        if memory and window is None:
            raise ValueError(f"DMPLayer: {memory} memory states, but no window in timesteps")
        alphas = () if alpha is None else _alphas(alpha)
        self.receptors = max(len(alphas), 1)
        arriving = self.receptors * self.neurons
        self.fast: nn.Linear | Convolution = (
            nn.Linear(self.axons, arriving) if convolution is None else _fitting(convolution, self)
        )
        self.slow_path: SlowPath | None = None
        self.linear_drive = linear_drive
        if memory:
            assert window is not None
            self.drive = nn.Linear(self.axons, 1)
            self.memory = LegendreMemory(memory, window)
            self.slow = nn.Linear(memory, arriving)
            self.slow_path = SlowPath(self.drive, self.memory, self.slow)
        self.recurrent = nn.Linear(self.neurons, arriving, bias=False) if recurrent else None
        self.delays = AxonalDelays(self.axons, delays) if delays else None
        leaks = [Leak("DMPLayer: alpha", neurons, each, learned=learn_alpha) for each in alphas]
        self.synapse: Leak | nn.ModuleDict | None = leaks[0] if leaks else None
        if len(leaks) > 1:
            self.synapse = nn.ModuleDict({str(n): leak for n, leak in enumerate(leaks, 1)})
        self.lif = (LIF() if lif is None else lif).of(self.neurons)

    @property
    def currents(self) -> dict[str, Leak]:
        """Synaptic currents, by what is behind `synapse` in their names: nothing, or of which."""
        if not isinstance(self.synapse, nn.ModuleDict):
            return {} if self.synapse is None else {"": self.synapse}
        every = self.synapse.items()
        return {f".{number}": leak for number, leak in every if isinstance(leak, Leak)}

    @property
    def states(self) -> int:
        """The number of memory states."""
        return 0 if self.slow_path is None else self.slow_path.memory.states

    def initial_state(self, batch: int) -> LayerState:
        """State before the first timestep: zeros."""
        zeros = self.fast.weight.new_zeros
        longest = 0 if self.delays is None else self.delays.longest
        neurons = self.lif.dynamics(self.keep()).rest(zeros(batch, self.neurons))
        return LayerState(
            **neurons._asdict(),
            memory=zeros(batch, self.states),
            held=zeros(batch, self.states),
            timestep=zeros(batch, 1),
            before=zeros(batch, 0 if self.recurrent is None else self.neurons),
            past=zeros(batch, longest, self.axons),
        )

    def step(self, x: Tensor, state: LayerState) -> tuple[Tensor, LayerState]:
        """One timestep: `x` [batch, inputs] -> spikes [batch, neurons] and the new state."""
        _, memory, held, timestep, before, past, *_ = state
        if self.pool is not None:
            x = self.pool(x)
        if self.delays is not None:
            x, past = self.delays.step(x, past)
        current = self.fast(x)
        if self.slow_path is not None:
            memory = self.memory.step(self.driving(x), memory)
            held = torch.where(timestep % self.dilation == 0, memory, held)
            current = current + self.slow(held)
        if self.recurrent is not None:
            current = current + self.recurrent(before)
        neurons = NeuronState(*(getattr(state, name) for name in NeuronState._fields))
        spikes, (membrane, *others) = self.lif.step(current, neurons, self.keep())
        before = before if self.recurrent is None else spikes
        return spikes, LayerState(membrane, memory, held, timestep + 1, before, past, *others)

    def forward(self, x: Tensor) -> Tensor:
        """Whole sequence from state 0: `x` [batch, time, inputs] -> spikes [batch, time, neurons].

        Equals `step` looped over time, up to the rounding of the memory's convolution.
        """
        x = self.late(x)
        current = self.fast(x)
        if self.slow_path is not None:
            memory = self.memory(self.driving(x).squeeze(2))
            current = current + self.slow(self.held(memory))
        spikes: Tensor = self.lif(current, weight=self.feedback(), keep=self.keep())
        return spikes

    def driving(self, x: Tensor) -> Tensor:
        """The scalar [.., 1] that drives the memory, of what arrives at the synapses."""
        driven: Tensor = self.drive(x)
        return driven if self.linear_drive else torch.relu(driven)

    def feedback(self) -> Tensor | None:
        """The weights [receptors * neurons, neurons] of their own spikes, if they hear them."""
        return None if self.recurrent is None else self.recurrent.weight

    def keep(self) -> Tensor | None:
        """What a timestep leaves of synaptic currents, for `LIF.forward`, if there are any."""
        keeps = [leak.kept() for leak in self.currents.values()]
        return torch.stack(keeps) if len(keeps) > 1 else next(iter(keeps), None)

    def arriving(self, current: Tensor) -> Tensor:
        """What arrives [batch, time, receptors * neurons] as synaptic currents, if there are."""
        leaks = self.currents.values()
        parts = zip(leaks, current.chunk(self.receptors, dim=-1), strict=True) if leaks else ()
        return torch.cat([leak(part) for leak, part in parts], dim=-1) if leaks else current

    def late(self, x: Tensor) -> Tensor:
        """A sequence [batch, time, inputs] as it arrives at the synapses."""
        if self.pool is not None:
            x = self.pool(x)
        if self.delays is None:
            return x
        late: Tensor = self.delays(x)
        return late

    def held(self, memory: Tensor) -> Tensor:
        """What the slow current reads of a sequence of memories [batch, time, memory states]."""
        if self.dilation == 1:
            return memory
        steps = torch.arange(memory.shape[1], device=memory.device)
        return memory[:, steps - steps % self.dilation]

    def of_machine(self, values: Tensor) -> Tensor:
        """Values of the machine's neurons in the order of this layer's [.., neurons].

        There may be further ones, which fill up rows.
        """
        if isinstance(self.fast, Convolution):
            return self.fast.in_planes(values)
        return values[..., : self.neurons]


def _alphas(alpha: Each | Receptors) -> tuple[Each, ...]:
    return alpha.alphas if isinstance(alpha, Receptors) else (alpha,)


def _fitting(convolution: Convolution, layer: DMPLayer) -> Convolution:
    if layer.receptors > 1:
        raise ValueError(
            f"DMPLayer: alpha is of {layer.receptors} receptors; a convolution has weights of one"
        )
    sizes = math.prod(convolution.planes), convolution.neurons
    if sizes != (layer.axons, layer.neurons):
        raise ValueError(
            f"DMPLayer: {layer.axons} inputs and {layer.neurons} neurons, but the convolution has "
            f"{sizes[0]} and {sizes[1]}"
        )
    return convolution
