"""What the fast engine runs, named once: records that Python fills in and C reads.

`header()` is the C text of these definitions; the library is built from it, so the two agree.
"""

from collections.abc import Iterable

from isa.limits import (
    COLUMNS,
    LOCKSTEP,
    MOST_BANKS,
    MOST_HOLD,
    MOST_LATENCY,
    MOST_LOOPS,
    MOST_QUEUE,
    MOST_REGISTERS,
    MOST_SLOTS,
    MOST_WINDOWS,
    PERIOD,
    STRIDE,
)

PAGED = 2 * MOST_REGISTERS + MOST_WINDOWS
"""What has two pages: vector registers of both kinds, and windows."""

INT, LONG = "int32_t", "int64_t"
_NUMPY = {INT: "i4", LONG: "i8"}

Fields = tuple[tuple[str, str], ...]


def _fields(kind: str, names: str) -> Fields:
    return tuple((name, kind) for name in names.split())


KINDS = ("SLOT", "STRETCH", "BANK", "GROUP", "SYNC", "LOOP", "HALT", "TRAP")
"""What an instruction is to the sequencer and to timing."""

COUNTERS = ("IMMEDIATE", "STEPS", "SAMPLES")
"""Counters of loops, as `isa.instructions.Loop` has them."""

OPS = (
    "READ_EVENTS", "WRITE_EVENTS", "READ_VALUES", "WRITE_VALUES", "COPY_EVENTS", "CHECK_REGISTER",
    "INPUT", "EMIT", "READ_STATE", "WRITE_STATE", "FILL_STATE", "DELAY_EVENTS",
    "ADD_ROWS", "MULTIPLY_ROWS", "CONVOLVE", "ADD_SUMS", "ACCUMULATE", "TAKE", "STEPS",
    "WIDEN", "NARROW", "ADD", "SUBTRACT", "MULTIPLY", "LARGER", "REACHED", "SELECT",
    "RIGHT", "LEFT", "SHIFTS", "SATURATE", "SET_ASIDE", "LOAD", "NEAR", "PLAY_EVENTS",
)  # fmt: skip
"""Micro-operations: the primitives of `isa.machine` and `isa.arithmetic`."""

MEMORIES = ("neuron", "readout", "ring")
UNITS = ("event", "delay", "drive", "update", "neuron", "readout", "loader")
"""Units beside the banks, which come before them."""

CAUSES = ("issue", "operand", "slot", "sums", "port")
STATUSES = ("DONE", "TRAPPED", "PAUSED", "STARVED", "LONG_BURST", "HELD_PAGE", "OPEN_BURST")
"""How running ends. The last three are deadlocks; a bank's number is added to OPEN_BURST."""

WATCHED = ("events", "values", "neuron", "readout")

SUMS = 1 << 16
NO_EVENTS, ARRIVING = -2, -1

INSTR = _fields(
    INT,
    "kind stage every since unit active active_size cycles_fixed cycles_active at_least "
    "groups inputs first share every_row period kernel "
    "reads read0 read1 read2 count0 count1 count2 write writes append "
    "consumes bank join spill row states apart hold counter value drain length code codes",
)
"""An instruction: its control, its demand on a unit (`isa.work`), its share of the microcode.

Registers e0 .. are 0 .., v0 .. are REGISTERS .., windows follow; -1 is none. It reads up to three
stretches of them, from `read0` on `count0` and so on, writes one, and appends to one register.
Rows of groups repeat after `period`, a power of two; `kernel` is the place of a constant, the
geometry of the kernel whose rows they are, or 0.
"""

MICRO = (*_fields(INT, "op n dst a b c x y z w"), *_fields(LONG, "low high"))
"""A micro-operation over n elements of a sample.

a, b, c are numbers of temporaries, or -1 - a constant, or SUMS + 2 * a bank (+ 1): what the bank's
consumer just took of events (of values).
"""

KERNEL = _fields(
    INT,
    "start groups channels planar height width columns blocks of_part depth x_taps taps "
    "above beside every",
)
"""Some groups of a kernel (`isa.kernel.geometry`); `of_part` are blocks. The last three say where
what follows these numbers begins.
"""

SIZES = _fields(
    INT,
    "banks queue slots loops lanes "
    "event_count event_register event_width value_count value_register value_width "
    "neuron_rows readout_rows ring_rows ring_lanes wide temporaries temporary_size saturations "
    "instructions micros watches period",
)
"""Sizes of the machine and of the program; `wide`: sums of banks take 64 bits.

A register has `event_register` elements; `event_width` is the longest vector of the program,
`period` the longest of an instruction.
"""

WATCH = _fields(INT, "pc kind number rows")
"""A value to keep each time after the instruction at pc: a register, or rows of a state memory."""

SPAN = (*_fields(INT, "pc unit"), *_fields(LONG, "issued start end"))
"""When an instruction was issued, and the cycles in which its unit worked on it."""

INTERVAL = (*_fields(INT, "unit why pc unused"), *_fields(LONG, "since until"))
"""What a unit did in cycles since .. until - 1: why is the cause of a stall, or -1 for work."""


def described(fields: Fields) -> list[tuple[str, str]]:
    """A record's fields as `numpy.dtype` takes them, which must align them as C does."""
    return [(name, _NUMPY[kind]) for name, kind in fields]


def _enum(prefix: str, names: Iterable[str]) -> str:
    return f"enum {{ {', '.join(prefix + name.upper() for name in names)} }};"


def _struct(name: str, fields: Fields) -> str:
    return f"typedef struct {{ {' '.join(f'{kind} {field};' for field, kind in fields)} }} {name};"


def header() -> str:
    """The C text of all this."""
    numbers = {
        "PERIOD": PERIOD, "STRIDE": STRIDE, "LOCKSTEP": LOCKSTEP, "COLUMNS": COLUMNS,
        "MOST_BANKS": MOST_BANKS, "REGISTERS": MOST_REGISTERS, "WINDOWS": MOST_WINDOWS,
        "PAGED": PAGED, "MOST_LOOPS": MOST_LOOPS,
        "MOST_QUEUE": MOST_QUEUE, "MOST_SUMS": 2 * MOST_SLOTS,
        "MOST_READS": (MOST_LATENCY + MOST_HOLD) // 2,
        "UNITS": MOST_BANKS + len(UNITS), "CAUSES": len(CAUSES), "MEMORIES": len(MEMORIES),
        "NO_EVENTS": NO_EVENTS, "ARRIVING": ARRIVING, "SUMS": SUMS,
    }  # fmt: skip
    lines = [
        "#include <stdint.h>",
        "enum { " + ", ".join(f"{name} = {number}" for name, number in numbers.items()) + " };",
        _enum("KIND_", KINDS),
        _enum("COUNT_", COUNTERS),
        _enum("", OPS),
        _enum("CAUSE_", CAUSES),
        _enum("", STATUSES),
        _enum("MEMORY_", MEMORIES),
        _enum("WATCH_", WATCHED),
        _struct("Kernel", KERNEL),
        _struct("Instr", INSTR),
        _struct("Micro", MICRO),
        _struct("Sizes", SIZES),
        _struct("Watch", WATCH),
        _struct("Span", SPAN),
        _struct("Interval", INTERVAL),
    ]
    return "\n".join(lines) + "\n"
