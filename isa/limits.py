"""Numbers that the description of the machine and its compiled engine must agree on.

Plain integers, so that the engine can be built where nothing else is installed yet.
"""

PERIOD = 16
"""Phases of a bank's share of rows: see `isa.sharing`."""
STRIDE = 7
"""Phases from one input to the next; odd, so that those of 16 neighbouring inputs differ."""

MOST_BANKS, MOST_REGISTERS, MOST_LOOPS = 3, 16, 16
"""Banks, vector registers of a kind, and nested loops, as operands and targets can name them."""
MOST_QUEUE, MOST_SLOTS, MOST_LATENCY = 64, 64, 64
"""Waiting instructions of a unit, groups in flight beside a bank, cycles to a result."""
GROUP_BITS = 10
"""Of an operand that counts groups."""

LOCKSTEP = 16
"""Samples that the compiled engine runs in step."""
COLUMNS = 16
"""Columns of its tables come in multiples of this: no vector ends in the middle of one."""
