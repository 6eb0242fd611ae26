"""Work and depth of a compiled program, counted in its text: what a wide machine would have to do, and wait for.

Work is the number of arithmetic operations, depth the largest number of instructions of which each waits for the one
before. A loop counts as often as it turns, a fused instruction as one of depth and as all that it computes
of work. Blelloch (1990) speaks of scans in these terms. Counts, not times: a machine whose units are all busy,
or that waits for memory, is not described by them.
"""

import math
import re
from functools import cache
from typing import NamedTuple

FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "copy", "after-all"}
MOVES = {  # what moves numbers and computes none
    "broadcast", "reshape", "transpose", "slice", "concatenate", "pad", "reverse", "iota", "gather", "scatter",
    "dynamic-slice", "dynamic-update-slice", "convert",
}  # fmt: skip
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)")
_BRANCHES = re.compile(
    r"(?:branch_computations=\{([^}]*)\}|(?:true|false)_computation=%?([\w.\-]+))"
)
_TURNS = re.compile(r'known_trip_count":\{"n":"(\d+)"')
_CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")


class Instruction(NamedTuple):
    name: str
    shape: tuple[int, ...]  # of its first array
    op: str
    operands: tuple[str, ...]
    rest: str  # of the line


class Counts(NamedTuple):
    work: float
    depth: float
    unknown_loops: int  # that were counted as turning once


def counts_of(program: str) -> Counts:
    """The counts of a program as `jax.jit(f).lower(...).compile().as_text()` gives it."""
    computations, entry = _read(program)
    unknown = 0

    @cache
    def counted(name: str) -> tuple[float, float]:
        nonlocal unknown
        shapes = {i.name: i.shape for i in computations[name]}
        depth: dict[str, float] = {}
        work = deepest = 0.0
        for i in computations[name]:
            own_work, own_depth = cost(i, shapes)
            before = max((depth.get(operand, 0.0) for operand in i.operands), default=0.0)
            depth[i.name] = before + own_depth
            work += own_work
            deepest = max(deepest, depth[i.name])
        return work, deepest

    def cost(i: Instruction, shapes: dict[str, tuple[int, ...]]) -> tuple[float, float]:
        nonlocal unknown
        if i.op in FREE:
            return 0.0, 0.0
        called = [counted(name) for name in _CALLED.findall(i.rest) if name in computations]
        if i.op == "while":
            turns = _TURNS.search(i.rest)
            unknown += turns is None
            times = int(turns[1]) if turns else 1
            return times * sum(w for w, _ in called), times * sum(d for _, d in called)
        if i.op == "conditional":
            names = [
                n for pair in _BRANCHES.findall(i.rest) for n in re.split(r",\s*", "".join(pair))
            ]
            branches = [counted(n.lstrip("%")) for n in names if n.lstrip("%") in computations]
            return max(w for w, _ in branches), max(d for _, d in branches)
        if i.op == "call":
            return called[0]
        if i.op == "fusion":
            return called[0][0], 1.0
        return _arithmetic(i, shapes), 1.0

    work, depth = counted(entry)
    return Counts(work, depth, unknown)


def _arithmetic(i: Instruction, shapes: dict[str, tuple[int, ...]]) -> float:
    """The operations of one instruction that calls no other, or a reduction."""
    size = math.prod(i.shape)
    if i.op in MOVES:
        return 0.0
    if i.op == "dot":
        left = shapes.get(i.operands[0], ())
        found = _CONTRACTED.search(i.rest)
        axes = [int(a) for a in found[1].split(",") if a] if found else []
        return 2.0 * size * math.prod(left[a] for a in axes)
    if i.op in ("reduce", "reduce-window"):
        return float(math.prod(shapes.get(i.operands[0], i.shape)))
    return float(size)


def _read(program: str) -> tuple[dict[str, list[Instruction]], str]:
    """The instructions of each computation, and the name of the first to run."""
    computations: dict[str, list[Instruction]] = {}
    entry = here = ""
    for line in program.splitlines():
        if found := _COMPUTATION.match(line):
            here = found[1]
            computations[here] = []
            entry = here if line.startswith("ENTRY") else entry
        elif here and (found := _INSTRUCTION.match(line)):
            _, name, shape, op, rest = found.groups()
            computations[here].append(Instruction(name, _shape(shape), op, _operands(rest), rest))
    return computations, entry


def _shape(text: str) -> tuple[int, ...]:
    found = re.search(r"\[([\d,]*)\]", text)
    return tuple(int(n) for n in found[1].split(",") if n) if found else ()


def _operands(rest: str) -> tuple[str, ...]:
    """The names between the brackets that follow the operation."""
    depth, end = 1, len(rest)
    for place, letter in enumerate(rest):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            end = place
            break
    return tuple(re.findall(r"%([\w.\-]+)", rest[:end]))
