"""What recognition asks of membranes, thresholds and resets."""

from dmpc.rules import Stage, rule

SEVERAL_COMPARISONS = rule(
    "several-comparisons",
    Stage.NETWORK,
    "several comparisons look at this state: {comparisons}",
    why="""A membrane has one threshold: the comparison that makes its neurons fire and resets them.
    A second one, other than that of a refractory counter, would need hardware of its own.""",
    nearest="one comparison of the charge with the threshold; floors and ceilings as torch.clamp "
    "or Max and Min; of snnTorch's reset_delay=False, reset_mechanism='zero'",
)
COUNTED_SPIKES = rule(
    "counted-spikes",
    Stage.NETWORK,
    "the neurons of {state} spike several times in a timestep, but not once for each amount that "
    "is then taken off their membrane, or they are a convolution's",
    why="""The machine lets neurons fire again in a timestep once a spike has taken its amount off:
    as often as the membrane holds the threshold. Other counts, a reset to a value after several
    spikes, and channels of a convolution, whose readers are convolutions, have no such loop.""",
    nearest="a subtractive reset of what thresholds are apart, in a layer of linear maps; or one "
    "spike a timestep: Sinabs' SingleSpike, Rockpool's max_spikes_per_dt=1",
)
ENDLESS_COUNT = rule(
    "endless-count",
    Stage.NETWORK,
    "this counts without end how often a value holds an amount, and no membrane loses the amount "
    "each time",
    why="""Neurons of the machine fire again in a timestep because a spike takes its amount off
    their membrane and leaves enough for the next. A count of the input, of a current, or of a
    membrane that keeps what it has, is no spiking.""",
    nearest="a membrane that loses the threshold for each spike, v - theta * floor(v / theta); or "
    "a count up to a number, clamp(floor(v / theta), 0, 3); with a reset to a value, one spike a "
    "timestep: Sinabs' SingleSpike",
)
LIMIT_ELSEWHERE = rule(
    "limit-elsewhere",
    Stage.NETWORK,
    "this limit of {state} is neither that of a charge, once all currents are added, nor that of "
    "what a timestep leaves of a membrane",
    why="""The neuron unit holds the charge of plain neurons between a floor and a ceiling, once all
    currents of the timestep are added. Synaptic currents, neurons that adapt and readouts have
    no limits, and what is charged between its limits would need them twice.""",
    nearest="v = clamp(beta v + currents, floor, ceiling), or the clamp behind the reset",
)
LIMITS_BESIDE = rule(
    "limits-beside",
    Stage.NETWORK,
    "the neurons of {state} have this limit, and adapt besides",
    why="""The machine has a model of neurons with a floor and a ceiling, and one of neurons that
    adapt, each with parameters of its own. None has both.""",
    nearest="leave the floor out (Sinabs: min_v_mem=None); or plain neurons with it",
)
LIMIT_OF_THE_REST = rule(
    "limit-of-the-rest",
    Stage.NETWORK,
    "a floor or ceiling of {state} cuts off what spikes leave, or lies beyond the threshold",
    why="""The machine cuts charges off before they spike. A floor behind the reset is the same
    where it lies below the threshold and spikes leave no less; a ceiling, where it lies at the
    threshold or above.""",
    nearest="a floor of at most threshold - reset value, and a ceiling at or above the threshold",
)
NEURON_COUNT = rule(
    "neuron-count",
    Stage.NETWORK,
    "compares {compared} elements for a membrane of {neurons} neurons",
    why="Every neuron compares its own membrane with its own threshold.",
    nearest="one comparison for each neuron",
)
NONLINEAR_MEMBRANE = rule(
    "nonlinear-membrane",
    Stage.NETWORK,
    "the membrane's next value is not linear at {ops}, even once the spikes of {comparison} are "
    "given",
    why="""The neuron unit multiplies a membrane by a constant leak and adds currents to it. It has
    no product of two computed values, no power and no choice other than the reset.""",
    nearest="u' = beta u + currents, with one constant beta for each neuron (a LIF neuron)",
)
NONLINEAR_STATE = rule(
    "nonlinear-state",
    Stage.NETWORK,
    "what {state} becomes is not linear at {ops}, {what} of computed values",
    why="""A membrane is multiplied by a constant leak, a current by constant weights. Neurons whose
    charge is a square or an exponential of their membrane (quadratic and exponential integrate and
    fire, Izhikevich), and synapses whose conductance is multiplied with it, have no unit.""",
    nearest="u' = beta u + currents, with one constant beta for each neuron (a LIF neuron)",
)
SEVERAL_RESETS = rule(
    "several-resets",
    Stage.NETWORK,
    "the spikes of {spikes} cut off several states of their neurons: {states}",
    why="""A spike resets the membrane of its neuron, and adds a constant to what that adapts by.
    Its synaptic currents go on, whatever it does.""",
    nearest="currents that spikes do not reset: snnTorch's Alpha with reset_mechanism='none'",
)
INPUT_NOT_LINEAR = rule(
    "input-not-linear",
    Stage.NETWORK,
    "the input is no longer itself before it reaches the membrane: {ops} is not linear",
    why="""Rows of weights are added for active inputs, or multiplied by graded ones. Between the
    input and the weights there is no unit that compares, rounds or bends it.""",
    nearest="leave it out where the input is events, which are 0 or 1 already; otherwise change "
    "the data before it reaches the network",
)
ADAPTIVE_THRESHOLD = rule(
    "adaptive-threshold",
    Stage.NETWORK,
    "the threshold of {state} moves with {moving}, which does more than decay and jump with the "
    "neuron's own spikes",
    why="""A neuron that adapts keeps one state of its own beside its membrane. It decays by a
    constant factor, a spike of that neuron adds a constant to it, and its threshold rises by it;
    or it is a current, which may follow the membrane besides.""",
    nearest="a' = rho a + jump s, s = u >= threshold + a; or u' = beta u + I + a, "
    "a' = rho a + coupling u' + jump s",
)
SEVERAL_CURRENTS = rule(
    "several-currents",
    Stage.NETWORK,
    "neurons take {number} synaptic currents, {currents}; the machine keeps up to {most} for each",
    why="""Each current is a state of its own, which the neuron unit visits before it adds it to a
    membrane. Synapses that decay alike share one.""",
    nearest="one synaptic time constant for all inputs of a layer, or for each of few receptors",
)
MIXED_DECAYS = rule(
    "mixed-decays",
    Stage.NETWORK,
    "neurons add up elements of {current} that decay at more than {most} rates",
    why="""What neurons do not share are currents of their own, one for each rate among all that a
    neuron adds up. A slow state, which a layer shares, has as many rates as elements.""",
    nearest="few time constants for what each neuron adds up, or elements that neurons share",
)
LEAKY_READOUT = rule(
    "leaky-readout",
    Stage.NETWORK,
    "the last layer keeps a membrane {how} ({state}) and the output is made of it, with another "
    "state or a reset in between; the machine's readout leaks by itself alone",
    why="""The readout unit adds up weights of spikes, lets the sum leak from timestep to timestep,
    and answers with its last, largest or mean. It keeps one such number for a class, and no spike
    resets it.""",
    nearest="the mean, sum, last or maximum over time of a linear map of the spikes, or spiking "
    "neurons that are counted",
)
REFRACTORY = rule(
    "refractory",
    Stage.NETWORK,
    "the neurons of {state} are shut off after a spike, by {by}, otherwise than by a membrane that "
    "stays for a number of timesteps at what the spike left",
    why="""Neurons that rest keep a counter. While it runs their membrane is at its reset value, and
    the counter is set by their spikes alone. Membranes that go on while their neurons rest, resets
    by subtraction, and neurons that adapt or have limits besides have no such model.""",
    nearest="v = where(rest > 0, v_reset, v); s = v >= threshold; v = where(s, v_reset, v); "
    "rest = where(s, steps, relu(rest - 1))",
)
LATE_CURRENT = rule(
    "late-current",
    Stage.NETWORK,
    "compares {state} before {missing} is added to it",
    why="""The machine fires on the charge: leak, then all currents of the timestep, then threshold
    and reset, in one visit to the membrane. A neuron that fires on less is a step late.""",
    nearest="spikes = beta u + currents >= threshold, currents of this timestep included",
)
NO_CHARGE = rule(
    "no-charge",
    Stage.NETWORK,
    "does not compare the charge of {state} with a constant threshold: it looks at {compared}, the "
    "charge is made of {charge}",
    why="""A neuron fires where its charge (leaked membrane and currents) reaches its threshold, and
    the comparison must weigh all parts of the charge as the membrane itself does.""",
    nearest="spikes = charge >= threshold, with the same charge that the membrane keeps",
)
OTHER_WEIGHTS = rule(
    "other-weights",
    Stage.NETWORK,
    "weighs {parts} otherwise than the membrane of {state} does",
    why="""A neuron fires where its own charge reaches the threshold. What the comparison looks at
    must be that charge: the same leaked membrane and the same currents, up to one positive factor
    for each neuron.""",
    nearest="spikes = charge >= threshold, with the same charge that the membrane keeps",
)
RESET_MIX = rule(
    "reset-mix",
    Stage.NETWORK,
    "a spike {leaves} a mix of {left}",
    why="""A spike sets the membrane to a constant, or takes a constant off it, at once or a
    timestep late. A reset to what a current says, or to a part of the charge (gated LIF), has no
    instruction.""",
    nearest="where(spike, constant, charge), or charge - constant * spike",
)
LATERAL_RESET = rule(
    "lateral-reset",
    Stage.NETWORK,
    "neurons are reset by the spikes of other neurons of {comparison}",
    why="""Each neuron is visited once in a timestep, and knows of its own spike alone. Inhibition
    between the neurons of a layer within a timestep (winner takes all) is not possible.""",
    nearest="each neuron reset by its own spike",
)
FULL_LEAK = rule(
    "full-leak",
    Stage.NETWORK,
    "neurons leak into each other: the leak is a full matrix (neuron {row} takes {factor:.3g} of "
    "the membrane of neuron {column})",
    why="The neuron unit multiplies each membrane by one factor of its own.",
    nearest="one leak factor for each neuron, a diagonal matrix; couplings through a slow state",
)
STRANGE_CHARGE = rule(
    "strange-charge",
    Stage.NETWORK,
    "the charge depends on {strange}",
    why="""What charges a membrane is itself, weighted events of one source, one slow state, and a
    constant bias.""",
    nearest="u' = beta u + W_f s + W_m m + b",
)
MEMORY_READ_TWICE = rule(
    "memory-read-twice",
    Stage.NETWORK,
    "the charge reads {memory} in more than one way: {ways}",
    why="""A layer has one slow current, of the slow state before or after its update. Two products
    with different timesteps of the same state would be two passes over memory path A.""",
    nearest="W_m m of this timestep, or of the previous one",
)
FREE_COMPARISON = rule(
    "free-comparison",
    Stage.NETWORK,
    "the comparison is no neuron's threshold: no state that it looks at is reset by it",
    why="""The only comparison that the machine makes is that of a membrane with its threshold.
    Events that are made of graded input by a comparison belong to the sensor.""",
    nearest="threshold the input before it reaches the network; make neurons without memory of a "
    "membrane with leak 0 that a spike resets",
)
