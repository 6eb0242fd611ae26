"""The constants from which the fast scan does a thing another way, each set to other values.

They were measured on one kind of processor; the suite `thresholds` measures them on the one at hand, and with
XLA_FLAGS=--xla_cpu_max_isa=AVX2 as on one with narrower vectors. A peer's process has one of OTHERS and keeps it.
"""

from types import ModuleType
from typing import Any

from seqjax.fast_scan import loops, products, scan

NEVER = 1 << 60  # bytes, or blocks, that nothing has
OTHERS: dict[str, list[tuple[ModuleType, str, Any]]] = {
    "turned_never": [(products, "LARGE", NEVER)],
    "turned_from_1_MiB": [(products, "LARGE", 1 << 20)],
    "turned_from_8_MiB": [(products, "LARGE", 8 << 20)],
    "turned_in_short_loops": [(loops, "TURN_STEPS", 1)],
    "turned_in_long_loops": [(loops, "TURN_STEPS", 32)],
    "one_block": [(scan, "FEWEST_BLOCKS", NEVER)],
    "blocks_of_a_quarter": [(scan, "BLOCK_BYTES", 2 << 20), (scan, "BLOCK_WEIGHTS", 1)],
    "blocks_of_4_times": [(scan, "BLOCK_BYTES", 32 << 20), (scan, "BLOCK_WEIGHTS", 20)],
    "a_row_as_many": [(scan, "_have_one_row", lambda products: False)],
}


def set_constants(name: str) -> None:
    """Gives this process the constants of one of OTHERS, for good."""
    for module, constant, value in OTHERS[name]:
        if not hasattr(module, constant):
            raise AttributeError(f"{module.__name__} has no {constant}.")
        setattr(module, constant, value)
