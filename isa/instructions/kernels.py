"""The description of convolutions, and what it is to those who read it."""

from collections.abc import Sequence

from isa.errors import IsaError
from isa.format import Instruction, flag, instruction, kernel_number, unsigned
from isa.kernel import Axis, Kernel
from isa.machine import Machine
from isa.target import Target
from isa.work import SKIPPED, Work


@instruction("kernel", 18)
class DescribeKernel(Instruction):
    """Describe a kernel, which `acc.events` and `acc.values` then name.

    Of the inputs along an axis every `pool` neighbours stand in one place. The kernel has `taps`
    taps, `dilation` places apart, and begins at place `stride * position - padding`. A position has
    `blocks` groups of neurons, a line `columns` positions; the last may begin 31 places behind the
    input, and see none of it. Channels and blocks fall into `parts`; a block sees the channels of
    its own. It stands once in a program, before whoever names it.
    """

    kernel: int = kernel_number("the kernel")
    height: int = unsigned(12, "inputs from top to bottom")
    width: int = unsigned(12, "inputs from left to right")
    channels: int = unsigned(10, "planes of inputs")
    columns: int = unsigned(12, "positions of a line")
    blocks: int = unsigned(10, "groups of neurons of a position")
    parts: int = unsigned(10, "parts of channels and blocks", 1)
    y_taps: int = unsigned(5, "taps from top to bottom", 1)
    y_stride: int = unsigned(5, "places from line to line", 1)
    y_padding: int = unsigned(5, "places above the first", 0)
    y_dilation: int = unsigned(4, "places from tap to tap", 1)
    y_pool: int = unsigned(3, "inputs of a place", 1)
    x_taps: int = unsigned(5, "taps from left to right", 1)
    x_stride: int = unsigned(5, "places from column to column", 1)
    x_padding: int = unsigned(5, "places left of the first", 0)
    x_dilation: int = unsigned(4, "places from tap to tap", 1)
    x_pool: int = unsigned(3, "inputs of a place", 1)
    planar: bool = flag("inputs come plane by plane, not position by position")

    @classmethod
    def of(cls, number: int, kernel: Kernel) -> "DescribeKernel":
        """The description of a kernel."""
        axes = {
            f"{name}_{what}": getattr(axis, what)
            for name, axis in (("y", kernel.y), ("x", kernel.x))
            for what in ("taps", "stride", "padding", "dilation", "pool")
        }
        return cls(
            kernel=number,
            height=kernel.y.size,
            width=kernel.x.size,
            channels=kernel.channels,
            columns=kernel.columns,
            blocks=kernel.blocks,
            parts=kernel.parts,
            planar=kernel.planar,
            **axes,
        )

    @property
    def described(self) -> Kernel:
        """The kernel."""
        y, x = (
            Axis(
                size,
                *(getattr(self, f"{name}_{what}") for what in ("taps", "stride", "padding")),
                *(getattr(self, f"{name}_{what}") for what in ("dilation", "pool")),
            )
            for name, size in (("y", self.height), ("x", self.width))
        )
        return Kernel(y, x, self.channels, self.columns, self.blocks, self.parts, self.planar)

    def work(self, target: Target) -> Work:
        return SKIPPED

    def execute(self, core: Machine) -> None:
        pass


def linked(code: Sequence[Instruction]) -> tuple[Instruction, ...]:
    """A program whose instructions know the kernels that they name.

    Raises IsaError for a kernel that is none, that is described twice, or only later or never.
    """
    kernels: dict[int, Kernel] = {}
    made = []
    for pc, op in enumerate(code):
        try:
            made.append(op.linked(kernels))
            if isinstance(op, DescribeKernel):
                _describe(kernels, op)
        except IsaError as error:
            raise IsaError(f"pc {pc}: {op.mnemonic}: {error}") from None
    return tuple(made)


def _describe(kernels: dict[int, Kernel], op: DescribeKernel) -> None:
    if op.kernel in kernels:
        raise IsaError(f"k{op.kernel} is described twice")
    kernel = op.described
    if kernel.own_fault:
        raise IsaError(kernel.own_fault)
    kernels[op.kernel] = kernel
