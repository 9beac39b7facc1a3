"""What ops of the integer levels share: the levels, attributes, checks of operand types."""

from collections.abc import Sequence

from dmpc.ir.ops_model import vector
from dmpc.ir.registry import BITS, Attrs, AttrSpec
from dmpc.ir.types import TensorType
from isa.interface import MOST_SINCE

INTEGER = ("integer", "partitioned", "fused", "placed", "scheduled")
FUSED = ("fused", "placed", "scheduled")
LAYER = AttrSpec(str, "name of the layer: layer1, layer2, ..., readout")
SUM_BITS = AttrSpec(int, "width to which the consumer saturates the total of its sums", limits=BITS)


MOST_TIMES = 16
"""How often neurons may spike in a timestep, at most: each time is an instruction of its own."""
BEYOND = MOST_TIMES + 1
"""How often neurons of graphs spike that no limit was set yet: if so often, more than may be."""

TIMES = AttrSpec(
    int,
    "how often neurons may spike in a timestep, a subtractive reset each time: the events of each "
    "time come behind those of the one before",
    required=False,
    limits=(1, BEYOND),
)


ENDLESS = AttrSpec(
    bool,
    "true: the model's neurons spike as often as they can; what they hold back beyond `times` is "
    "counted",
    required=False,
)


SINCE = AttrSpec(
    int, "the first timestep that counts; 0 if absent", required=False, limits=(1, MOST_SINCE)
)


def times(attrs: Attrs) -> int:
    """How often neurons may spike in a timestep; ValueError if more than once, and reset hard."""
    number, endless = attrs.get("times", 1), attrs.get("endless", False)
    assert isinstance(number, int)
    if (number > 1 or endless) and attrs["reset_mode"] != "subtract":
        many = "spikes without end" if endless else f"{number} spikes in a timestep"
        raise ValueError(f"{many} with a {attrs['reset_mode']} reset")
    return number


def integers(type_: TensorType, what: str, *shape: int) -> None:
    """Require an integer type of a shape; raises ValueError with a text for the user."""
    if not type_.is_integer or type_.shape != shape:
        raise ValueError(f"{what} must be integers of shape {list(shape)}, not {type_}")


def integer_vector(type_: TensorType, what: str) -> int:
    """Size of a vector of integers; raises ValueError with a text for the user."""
    size = vector(type_, what)
    integers(type_, what, size)
    return size


def input_vector(type_: TensorType, what: str) -> int:
    """Size of a vector of events or integers; raises ValueError with a text for the user."""
    return vector(type_, what) if type_.dtype == "event" else integer_vector(type_, what)


def number(attrs: Attrs, name: str) -> int:
    """An attribute that is a whole number."""
    value = attrs[name]
    assert isinstance(value, int)
    return value


def like(type_: TensorType, bits: int) -> TensorType:
    """An integer type of another width, with the shape and scale of a given one."""
    return TensorType(f"i{bits}", type_.shape, type_.scale)


def same_vectors(types: Sequence[TensorType], names: Sequence[str]) -> int:
    """The size of integer vectors of one size; raises ValueError with a text for the user."""
    size = types[0].shape[0] if len(types[0].shape) == 1 else -1
    for type_, name in zip(types, names, strict=True):
        integers(type_, name, size)
    return size


def since_of(attrs: Attrs) -> int:
    """The first timestep that counts."""
    return number(attrs, "since") if "since" in attrs else 0
