"""The gates of a step as one function of all of them, where nothing else is kept of a step.

A cell cuts its pre-activations into gates and takes the sigmoid of each. XLA on a CPU fuses the cuts,
the functions and the new state into one kernel, which is not vectorised where the pre-activations
are read from an array of all steps: up to 2.4 times as slow, the product included. The function of
the uncut array is a kernel of its own, and a fast one, even if a part of its result (a candidate,
which takes another function) is not used. A training step does not need it: there the gates are
kept, each a kernel already.
"""

# mypy: disable-error-code="attr-defined, arg-type"
# (jax.extend.core types an atom's aval as an abstract value without shape and dtype.)

from collections import defaultdict
from typing import Any

import jax
import jax.extend.core as jex

from seqjax.stepgraph import evaluate, flatten, struct
from seqjax.types import Array

CUTS = ("slice", "split")
FUNCTIONS = ("logistic", "tanh")


def join_gates(jaxpr: jex.Jaxpr) -> jex.Jaxpr:
    """The same function of the same inputs, each function of most parts of an array made one.

    Args:
      jaxpr: straight-line equations without constants, from `seqjax.stepgraph.flatten`.
    """
    producer: dict[Any, Any] = {v: eqn for eqn in jaxpr.eqns for v in eqn.outvars}
    parts = defaultdict(list)  # (function, uncut array) -> the equations of its parts
    for eqn in jaxpr.eqns:
        if eqn.primitive.name not in FUNCTIONS or not isinstance(eqn.invars[0], jex.Var):
            continue
        cut = producer.get(eqn.invars[0])
        if cut is not None and cut.primitive.name in CUTS:
            parts[eqn.primitive.name, cut.invars[0]].append(eqn)
    joined = {
        eqn.outvars[0]: source
        for source, eqns in parts.items()
        if len(eqns) > 1 and 2 * sum(e.outvars[0].aval.size for e in eqns) > source[1].aval.size
        for eqn in eqns
    }
    if not joined:
        return jaxpr

    def run(*inputs: Array) -> list[Any]:
        env: dict[Any, Any] = dict(zip(jaxpr.invars, inputs, strict=True))
        whole: dict[Any, Array] = {}

        def value(atom: Any) -> Any:
            return env[atom] if isinstance(atom, jex.Var) else atom.val

        for eqn in jaxpr.eqns:
            source = joined.get(eqn.outvars[0])
            if source is None:
                results = evaluate(eqn, [value(atom) for atom in eqn.invars])
                env.update(zip(eqn.outvars, results, strict=True))
                continue
            if source not in whole:
                whole[source] = eqn.primitive.bind(env[source[1]], **eqn.params)
            cut = producer[eqn.invars[0]]
            results = evaluate(cut, [whole[source]])
            env[eqn.outvars[0]] = results[cut.outvars.index(eqn.invars[0])]
        return [value(atom) for atom in jaxpr.outvars]

    found, consts = flatten(jax.make_jaxpr(run)(*map(struct, jaxpr.invars)))
    assert not consts
    return found
