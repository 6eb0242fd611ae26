"""How each part of a step's state depends on itself: what of time need not be walked step by step.

The leaves of the state are split into components, the strongly connected ones of "is computed from", in an
order in which each reads only those before it. A component is of one of four kinds:

    input only   its new value does not depend on its old one
    affine       h' = A(x) h + b(x), for every unit by itself, or for the n leaves of a unit together
    pointwise    another function of every unit by itself
    mixing       everything else, as what multiplies the state by a matrix

What is not understood is mixing. Nothing is tried out with numbers: a kind follows from the equations.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp

from seqjax.fast_scan.jaxprs import (
    Atom,
    Eqn,
    Jaxpr,
    Program,
    Var,
    inner_jaxpr,
    is_float,
    program,
    shown,
    struct,
    variables,
)

NONE, AFFINE, POINTWISE, MIXING = range(4)
NAMES = ("input only", "affine", "pointwise", "mixing")

LINEAR = {"add", "sub", "neg", "add_any", "copy"}
OF_COMPLEX = {"real", "imag", "conj", "complex"}  # linear over the reals alone
SMOOTH = {
    *(
        "tanh",
        "logistic",
        "exp",
        "exp2",
        "log",
        "log1p",
        "expm1",
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
    ),
    *("atan", "sinh", "cosh", "asinh", "acosh", "atanh", "sqrt", "rsqrt", "cbrt", "erf", "erfc"),
    *("erf_inv", "square", "integer_pow", "pow", "atan2", "max", "min", "abs", "sign", "clamp"),
    *(
        "floor",
        "ceil",
        "round",
        "is_finite",
        "gt",
        "ge",
        "lt",
        "le",
        "eq",
        "ne",
        "and",
        "or",
        "not",
    ),
    *("xor", "rem", "nextafter", "reduce_precision"),
}  # of every entry by itself, their derivatives that of their values


class Component(NamedTuple):
    """Leaves of the state that depend on one another.

    Attributes:
      leaves: their places among the leaves of the state.
      kind: AFFINE and the like; NONE for input only.
      reads: the leaves of earlier components that they are computed from.
      new: `(parameters and constants, all leaves of the state, leaves of x) -> new leaves`.
      reason: why it is no better kind, in words; "" for input only and affine.
    """

    leaves: tuple[int, ...]
    kind: int
    reads: tuple[int, ...]
    new: Program
    reason: str


def components(jaxpr: Jaxpr, num_fixed: int, num_state: int) -> list[Component]:
    """The components of a step, each after those that it reads.

    Args:
      jaxpr: flat; its inputs are parameters and constants, the state, x; its outputs the new state and y.
      num_fixed: how many inputs are parameters or constants.
      num_state: how many are state.
    """
    state = jaxpr.invars[num_fixed : num_fixed + num_state]
    sources = _sources(jaxpr, state)
    reads = [
        sources.get(out, set()) if isinstance(out, Var) else set()
        for out in jaxpr.outvars[:num_state]
    ]
    found = []
    for leaves in _strongly_connected(reads):
        new = program(jaxpr.invars, [jaxpr.outvars[i] for i in leaves], jaxpr.eqns)
        own = {i for i in leaves if any(i in reads[j] for j in leaves)}
        before = {i for j in leaves for i in reads[j]} - {*leaves}
        kind, reason = (
            _kind_of(new, [state[i] for i in leaves], [jaxpr.outvars[i] for i in leaves])
            if own
            else (NONE, "")
        )
        found.append(Component(leaves, kind, tuple(sorted(before)), new, reason))
    return found


def _sources(jaxpr: Jaxpr, state: Sequence[Var]) -> dict[Var, set[int]]:
    """For every value the leaves of the state that it depends on."""
    sources = {v: {i} for i, v in enumerate(state)}
    for eqn in jaxpr.eqns:
        read = {i for v in variables(eqn.invars) for i in sources.get(v, ())}
        if read:
            sources.update(dict.fromkeys(eqn.outvars, read))
    return sources


def _strongly_connected(reads: Sequence[set[int]]) -> list[tuple[int, ...]]:
    """The strongly connected components, each after those it reads."""
    count = len(reads)
    reach = [{i} | {*reads[i]} for i in range(count)]
    for middle in range(count):
        for i in range(count):
            if middle in reach[i]:
                reach[i] |= reach[middle]
    groups: list[tuple[int, ...]] = []
    for i in range(count):
        group = tuple(j for j in range(count) if j in reach[i] and i in reach[j])
        if group not in groups:
            groups.append(group)
    return sorted(groups, key=lambda group: len(reach[group[0]]))


def _kind_of(new: Program, state: Sequence[Var], outputs: Sequence[Atom]) -> tuple[int, str]:
    """The kind of a component by the equations that make it."""
    shapes = {struct(v).shape for v in state}
    if not all(map(is_float, state)):
        return MIXING, "its state is of integers"
    if len(shapes) > 1:
        return (
            MIXING,
            f"parts of different shapes, {', '.join(map(shown, state))}, feed one another",
        )
    is_complex = {jnp.issubdtype(struct(v).dtype, jnp.complexfloating) for v in state}
    if len(is_complex) > 1:
        return MIXING, "real and complex parts feed one another"
    kinds: dict[Var, int] = dict.fromkeys(state, AFFINE)
    reasons: dict[int, str] = {}
    _walk(new.eqns, kinds, is_complex == {True}, reasons)
    kind = max(kinds.get(out, NONE) if isinstance(out, Var) else NONE for out in outputs)
    if any(struct(out).shape not in shapes for out in outputs):
        return MIXING, "a new value is of another shape"
    kind = max(kind, AFFINE)
    return kind, reasons.get(kind, "") if kind > AFFINE else ""


def _walk(
    eqns: Iterable[Eqn], kinds: dict[Var, int], is_complex: bool, reasons: dict[int, str]
) -> None:
    """Gives every result of the equations its kind; the first equation that made a kind is its reason."""
    for eqn in eqns:
        inputs = [kinds.get(v, NONE) if isinstance(v, Var) else NONE for v in eqn.invars]
        if not any(inputs):
            continue
        kind = _kind(eqn, inputs, is_complex, reasons)
        if kind > AFFINE:
            reasons.setdefault(kind, _in_words(eqn, inputs))
        kinds.update(dict.fromkeys(eqn.outvars, kind))


def _kind(eqn: Eqn, inputs: list[int], is_complex: bool, reasons: dict[int, str]) -> int:
    """The kind of an equation's results, some of whose inputs depend on the state."""
    name, worst = eqn.primitive.name, max(inputs)
    dependent = [v for v, kind in zip(eqn.invars, inputs, strict=True) if kind]
    out = struct(eqn.outvars[0])
    if any(struct(v).shape != out.shape for v in dependent) or len(eqn.outvars) > 1:
        return MIXING
    nonlinear = MIXING if is_complex else max(worst, POINTWISE)
    if name in LINEAR or (name == "broadcast_in_dim" and eqn.params["shape"] == out.shape):
        return worst
    if name == "mul":
        return worst if len(dependent) == 1 else nonlinear
    if name == "div":
        return worst if not inputs[1] else nonlinear
    if name == "select_n":
        return worst if not inputs[0] else nonlinear
    if name == "convert_element_type":
        return max(worst, _of_cast(struct(dependent[0]).dtype, out.dtype, nonlinear))
    if name in OF_COMPLEX:
        return MIXING if is_complex else worst
    if name in SMOOTH:
        return nonlinear
    if (inner := inner_jaxpr(eqn)) is not None:
        # Its derivative is its author's, and need not be that of its value: affine is not believed.
        kinds = {v: kind for v, kind in zip(inner.invars, inputs, strict=True) if kind}
        _walk(inner.eqns, kinds, is_complex, reasons)
        result = inner.outvars[0]
        within = kinds.get(result, NONE) if isinstance(result, Var) else NONE
        return max(within, nonlinear) if within else NONE
    return MIXING


def _of_cast(old: jnp.dtype, new: jnp.dtype, nonlinear: int) -> int:
    """A cast to a type that holds every value of the old one is no change."""
    if old == new or jnp.promote_types(old, new) == new:
        return AFFINE if jnp.issubdtype(old, jnp.inexact) else MIXING
    both_real = all(jnp.issubdtype(dtype, jnp.floating) for dtype in (old, new))
    return nonlinear if both_real else MIXING


def _in_words(eqn: Eqn, inputs: list[int]) -> str:
    operands = ", ".join(
        f"{'the state' if kind else 'others'} {shown(v)}"
        for v, kind in zip(eqn.invars, inputs, strict=True)
    )
    return f"{eqn.primitive.name} of {operands}"
