"""What the forward loop keeps for the backward loop, and what the backward loop repeats."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from seqjax.fast_scan.backward import Backward, check_reversible, perturbed_by, trace_backward
from seqjax.fast_scan.jaxprs import Eqn, Program, Var, is_read, program, variables
from seqjax.fast_scan.stepgraph import PRODUCTS, StepGraph

# Work that costs less to repeat in the backward loop than its result costs to keep. (tanh is
# repeated where its argument can be had again, as an LSTM's tanh(c): one array less in memory.)
CHEAP = frozenset(
    """abs add and broadcast_in_dim clamp concatenate convert_element_type copy eq expand_dims ge
    gt integer_pow iota is_finite le lt max min mul ne neg not or reduce_precision reshape select_n sign slice split
    square squeeze stop_gradient sub transpose tanh""".split()
)


class Kept(NamedTuple):
    """What the forward loop keeps."""

    values: tuple[Var, ...]
    shifted: tuple[tuple[Var, int], ...]  # kept state that is the y (which?) of the step before
    hoisted: tuple[Var, ...]  # hoisted products that the backward loop reads


NOTHING = Kept((), (), ())


class Plan(NamedTuple):
    """How the gradient of a step is made."""

    kept: Kept
    replay: Program  # fixed, sequence, kept values -> what is repeated rather than kept
    backward: Backward

    def reads(self) -> set[Var]:
        """What a step of the backward loop reads."""
        return self.replay.reads() | {*self.backward.reads}


def plan_gradient(graph: StepGraph, keep: str, inputs: Iterable[Var]) -> Plan:
    """Decides what is kept for the gradient with respect to `inputs` of the step.

    Args:
      graph: the step.
      keep: "gates": what the backward step reads and cannot have again by CHEAP work;
        "products": the recurrent products, the rest being repeated.
      inputs: parameters, state and leaves of x, all floats.

    Raises:
      Exception: what JAX raises of an equation that cannot be differentiated in reverse.
    """
    perturbed = perturbed_by(graph, inputs)
    for eqn in (*graph.fix.eqns, *graph.hoist.eqns):
        if eqn.primitive.name not in (*CHEAP, *PRODUCTS):
            check_reversible(eqn, perturbed)
    backward = trace_backward(graph, perturbed)
    eqns, order = graph.body.eqns, graph.order
    needed = {*backward.reads, *(d.operand for d in graph.deferred)}
    # Hoisted products are used up by the forward loop: to read them again is to keep them.
    free = {*graph.fixed, *graph.state}
    free |= {v for v in graph.sequence if keep == "products" or v in graph.xs}
    products = [d.eqn for d in graph.deferred]
    candidates = [*graph.state, *_worth_keeping(eqns, needed, free, keep, products)]
    repeated = [v for v in order if v in needed and v not in free and v not in candidates]
    given = (*graph.fixed, *graph.sequence)
    read = needed | program((*given, *candidates), repeated, eqns).reads()
    values = tuple(v for v in candidates if v in read)
    ys = [v if isinstance(v, Var) else None for v in graph.ys]
    kept = Kept(
        values,
        shifted=tuple(
            (old, ys.index(new))
            for old, new in zip(graph.state, graph.new_state, strict=True)
            if old in values and isinstance(new, Var) and new in ys
        ),
        hoisted=tuple(v for v in graph.hoist.outputs if v in read),
    )
    return Plan(kept, program((*given, *values), repeated, eqns), backward)


def _worth_keeping(
    eqns: Sequence[Eqn], needed: set[Var], free: set[Var], keep: str, products: list[Eqn]
) -> list[Var]:
    available, kept = set(free), []
    for eqn in eqns:
        cheap = eqn not in products if keep == "products" else eqn.primitive.name in CHEAP
        repeatable = cheap and all(v in available for v in variables(eqn.invars))
        for v in filter(is_read, eqn.outvars):
            if repeatable:
                available.add(v)
            elif v in needed or keep == "products":
                available.add(v)
                kept.append(v)
    return kept
