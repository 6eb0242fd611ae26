"""The gates of a step as one function of all of them, where nothing else is kept of a step.

A cell cuts its pre-activations into gates and takes the sigmoid of each. XLA on a CPU fuses the cuts,
the functions and the new state into one kernel, which is not vectorised where the pre-activations
are read from an array of all steps: an LSTM's step takes 2.4 times as long with a batch of 8 and 64
units, 1.1 times with 64 and 512 (two cores of a Xeon). The function of the uncut array is a kernel of
its own, and a fast one, even if a part of its result (a candidate, which takes another function) is
not used. A training step does not need it: there the gates are kept, each a kernel already.
"""

from collections import defaultdict
from typing import Any

import jax

from seqjax.fast_scan.jaxprs import Atom, Eqn, Jaxpr, Var, evaluate, flatten, interpret, struct
from seqjax.types import Array

CUTS = ("slice", "split")
FUNCTIONS = ("logistic", "tanh")


def join_gates(jaxpr: Jaxpr) -> Jaxpr:
    """The same function of the same inputs, each function of most parts of an array made one.

    Args:
      jaxpr: straight-line equations without constants, from `seqjax.fast_scan.jaxprs.flatten`.
    """
    cuts: dict[Atom, Eqn] = {
        v: eqn for eqn in jaxpr.eqns if eqn.primitive.name in CUTS for v in eqn.outvars
    }
    gated = defaultdict(list)  # (function, uncut array) -> its parts, results of the function
    for eqn in jaxpr.eqns:
        argument = eqn.invars[0] if eqn.invars else None
        if eqn.primitive.name in FUNCTIONS and isinstance(argument, Var) and argument in cuts:
            gated[eqn.primitive.name, cuts[argument].invars[0]].append(eqn.outvars[0])
    joined: dict[Atom, Any] = {
        v: source
        for source, results in gated.items()
        if len(results) > 1 and 2 * sum(struct(v).size for v in results) > struct(source[1]).size
        for v in results
    }
    if not joined:
        return jaxpr
    uncut: dict[Atom, Array] = {}
    of_uncut: dict[Atom, Array] = {}  # by (function, uncut array)

    def rule(eqn: Eqn, inputs: list[Any]) -> list[Any]:
        if eqn.primitive.name in CUTS:
            uncut[eqn.invars[0]] = inputs[0]
        source = joined.get(eqn.outvars[0])
        if source is None:
            return evaluate(eqn, inputs)
        if source not in of_uncut:
            of_uncut[source] = eqn.primitive.bind(uncut[source[1]], **eqn.params)
        cut = cuts[eqn.invars[0]]
        parts: dict[Atom, Array] = dict(
            zip(cut.outvars, evaluate(cut, [of_uncut[source]]), strict=True)
        )
        return [parts[eqn.invars[0]]]

    def run(*inputs: Array) -> list[Any]:
        return interpret(jaxpr, inputs, rule)

    joined_jaxpr, consts = flatten(jax.make_jaxpr(run)(*map(struct, jaxpr.invars)))
    assert not consts
    return joined_jaxpr
