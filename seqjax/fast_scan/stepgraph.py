"""Reading a recurrent step: what can leave the loop, and what has to stay.

A step `(params, state, x) -> (state, y)` is traced to a jaxpr, and each of its values is of one of
three kinds: *fixed* values depend on parameters alone, *sequence* values on parameters and x, *loop*
values on the state. From these follow

    hoisted products     sequence @ weight: one product over all steps, before the loop;
    deferred products    loop @ weight: their weight gradients are one product, after the loop.

Equations in, functions out: `seqjax.scan` runs the parts.
"""

from typing import NamedTuple

from seqjax.fast_scan.jaxprs import Atom, Eqn, Jaxpr, Program, Var, is_float, program, variables

PRODUCTS = ("dot_general", "conv_general_dilated")  # linear in each operand


class Deferred(NamedTuple):
    """A product of a loop value and a weight, whose weight gradient waits for the loop's end."""

    eqn: Eqn
    operand: Atom
    weight: Var


class StepGraph(NamedTuple):
    """A step taken apart."""

    fix: Program  # params -> all fixed values that hoist and the loops read
    hoist: Program  # fix's outputs, x -> hoisted products, for one step
    fixed: tuple[Var, ...]  # fixed values that the loops read
    sequence: tuple[Var, ...]  # hoisted products and leaves of x that the loops read
    state: tuple[Var, ...]
    xs: tuple[Var, ...]  # leaves of x
    new_state: tuple[Atom, ...]
    ys: tuple[Atom, ...]
    body: Program  # fixed, sequence, state -> new state, y
    deferred: tuple[Deferred, ...]

    @property
    def order(self) -> list[Var]:
        """The values that the loops read and compute, each after those it depends on."""
        return [*self.body.inputs, *(v for eqn in self.body.eqns for v in eqn.outvars)]


def read_step(jaxpr: Jaxpr, num_params: int, num_state: int) -> StepGraph:
    """Takes a flat step apart.

    Args:
      jaxpr: from `flatten`; inputs are params (constants first), state, x; outputs are the new
        state and y.
      num_params: how many inputs are parameters or constants.
      num_state: how many inputs are state, and how many outputs are the new state.
    """
    params, others = jaxpr.invars[:num_params], jaxpr.invars[num_params:]
    state, xs = others[:num_state], others[num_state:]
    fixed, looped = _kinds(jaxpr, params, state)
    order = [*jaxpr.invars, *(v for eqn in jaxpr.eqns for v in eqn.outvars)]

    fix_eqns = [e for e in jaxpr.eqns if set(e.outvars) <= fixed]
    before = [e for e in jaxpr.eqns if not set(e.outvars) & (fixed | looped)]
    hoisted = [e.outvars[0] for e in before if _weight(e, fixed) is not None]
    inside = [e for e in jaxpr.eqns if not set(e.outvars) & ({*hoisted} | fixed)]
    loop_eqns = program((), jaxpr.outvars, inside).eqns
    computed = {v for e in loop_eqns for v in e.outvars}
    read = {*variables(jaxpr.outvars), *(v for e in loop_eqns for v in variables(e.invars))}
    loop_fixed = tuple(v for v in order if v in read and v in fixed)
    sequence = tuple(v for v in order if v in read and v not in fixed | computed | {*state})
    hoist = program((*fixed, *xs), [v for v in hoisted if v in sequence], before)
    fix_outputs = [v for v in order if v in fixed and v in ({*loop_fixed} | hoist.reads())]
    return StepGraph(
        fix=program(params, fix_outputs, fix_eqns),
        hoist=program((*fix_outputs, *xs), hoist.outputs, hoist.eqns),
        fixed=loop_fixed,
        sequence=sequence,
        state=tuple(state),
        xs=tuple(xs),
        new_state=tuple(jaxpr.outvars[:num_state]),
        ys=tuple(jaxpr.outvars[num_state:]),
        body=program((*loop_fixed, *sequence, *state), jaxpr.outvars, loop_eqns),
        deferred=tuple(
            Deferred(eqn, next(v for v in eqn.invars if v is not weight), weight)
            for eqn in loop_eqns
            if (weight := _weight(eqn, fixed)) is not None
        ),
    )


def _kinds(jaxpr: Jaxpr, params: list[Var], state: list[Var]) -> tuple[set[Var], set[Var]]:
    """The fixed values and the loop values; all others are sequence values."""
    fixed, looped = set(params), set(state)
    for eqn in jaxpr.eqns:
        inputs = {*variables(eqn.invars)}
        if inputs <= fixed:
            fixed |= set(eqn.outvars)
        elif inputs & looped:
            looped |= set(eqn.outvars)
    return fixed, looped


def _weight(eqn: Eqn, fixed: set[Var]) -> Var | None:
    """The one fixed float operand of a product."""
    weights = [v for v in variables(eqn.invars) if v in fixed and is_float(v)]
    return weights[0] if eqn.primitive.name in PRODUCTS and len(weights) == 1 else None
