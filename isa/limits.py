"""Numbers that the description of the machine and its compiled engine must agree on.

Plain integers, so that the engine can be built where nothing else is installed yet.
"""

PERIOD = 16
"""Phases of a bank's share of rows: see `isa.layout`."""
STRIDE = 7
"""Phases from one input to the next; odd, so that those of 16 neighbouring inputs differ."""

MOST_BANKS, MOST_REGISTERS, MOST_WINDOWS, MOST_LOOPS, MOST_KERNELS = 3, 64, 16, 16, 16
"""Banks, vector registers of a kind, windows, nested loops, kernels: what operands and targets can
name."""
MOST_QUEUE, MOST_SLOTS, MOST_LATENCY, MOST_HOLD = 64, 64, 64, 4
"""Waiting instructions of a unit, groups in flight beside a bank, cycles to a result."""
ROW_BITS, SIZE_BITS, GROUP_BITS, STAGE_BITS, TIMESTEP_BITS = 24, 16, 16, 6, 16
"""Of operands: rows of a memory, elements of a vector, groups of neurons, stages of a program,
timesteps of a sample."""

LOCKSTEP = 16
"""Samples that the compiled engine runs in step."""
COLUMNS = 16
"""Columns of its tables come in multiples of this: no vector ends in the middle of one."""
