"""The derivative of one step: elementwise work and the products' transposes, nothing else.

The gradients of the deferred products' weights are left out; they wait for the end of the loop.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.fast_scan.jaxprs import (
    Atom,
    Eqn,
    Jaxpr,
    Program,
    Var,
    evaluate,
    flatten,
    is_float,
    is_read,
    program,
    struct,
    variables,
)
from seqjax.fast_scan.products import is_large, is_plain_product, turned_product
from seqjax.fast_scan.stepgraph import Deferred, StepGraph
from seqjax.types import Array

# Derivatives from the output alone, so that the input of these functions need not be kept.
FROM_OUTPUT: dict[str, Callable[[Array, Array], Array]] = {
    "tanh": lambda ct, y: ct * (1 - y * y),
    "logistic": lambda ct, y: ct * (y * (1 - y)),
    "exp": lambda ct, y: ct * y,
}
SUMMING = ("reduce_sum", "reshape", "squeeze", "broadcast_in_dim")


class Cotangents(NamedTuple):
    """What is known of one step's cotangents, None where a value has none.

    Arrays while the derivative is traced, then the variables of its equations, then their places
    among the results of `Backward.function`.
    """

    state: tuple[Any, ...]  # of the state before the step
    sequence: tuple[Any, ...]
    fixed: tuple[Any, ...]
    deferred: tuple[Any, ...]  # of the deferred products' results


class Backward(NamedTuple):
    """The derivative of one step.

    `function(reads, weights of `plain`, cotangents) -> results`, where large weights are as they are
    and others transposed. The cotangents belong to the new state, where the state before is
    perturbed, and to y where it is.
    """

    perturbed: set[Var]  # values that have a cotangent: those that move with what is differentiated

    reads: tuple[Var, ...]  # values of the forward step
    plain: tuple[int, ...]  # which deferred products are `a @ weight`
    function: Callable[[list[Array], list[Array], list[Array]], list[Array]]
    places: Cotangents
    finish: tuple[Program | None, ...]  # what is left to do to a sum of `fixed` over the steps


class Derivative(NamedTuple):
    """The derivative as equations, with every value of the forward step as an input."""

    jaxpr: Jaxpr  # constants, values, weights of plain products, cotangents -> cotangents
    consts: list[Array]
    values: tuple[Var, ...]  # of the forward step
    plain: tuple[int, ...]
    cotangents: Cotangents  # of variables of the jaxpr


def perturbed_by(graph: StepGraph, inputs: Iterable[Var]) -> set[Var]:
    """The float values of a step that depend on `inputs`, in this step or in one before."""
    perturbed = set(inputs)
    eqns = (*graph.fix.eqns, *graph.hoist.eqns, *graph.body.eqns)
    while True:
        for eqn in eqns:
            if eqn.primitive.name != "stop_gradient" and perturbed & {*variables(eqn.invars)}:
                perturbed |= {v for v in eqn.outvars if is_float(v)}
        carried = {
            old
            for old, new in zip(graph.state, graph.new_state, strict=True)
            if isinstance(new, Var) and new in perturbed
        }
        if carried <= perturbed:
            return perturbed
        perturbed |= carried


def trace_backward(graph: StepGraph, perturbed: set[Var]) -> Backward:
    """Reverse-mode differentiation of one step, for cotangents of the `perturbed` values.

    Raises:
      Exception: what JAX raises of an equation that cannot be differentiated in reverse.
    """
    derivative = _trace_derivative(graph, perturbed)
    peeled = [_peel(atom, derivative.jaxpr.eqns) for atom in derivative.cotangents.fixed]
    fixed, finish = zip(*peeled, strict=True) if peeled else ((), ())
    cotangents = derivative.cotangents._replace(fixed=fixed)
    return _assemble(derivative, perturbed, cotangents, finish)


def _trace_derivative(graph: StepGraph, perturbed: set[Var]) -> Derivative:
    computed = [v for eqn in graph.body.eqns for v in eqn.outvars if is_read(v)]
    values = (*graph.body.inputs, *computed)
    plain = tuple(
        i
        for i, d in enumerate(graph.deferred)
        if is_plain_product(d.eqn) and d.eqn.invars[1] is d.weight
    )
    outputs = [
        *(new for old, new in zip(graph.state, graph.new_state, strict=True) if old in perturbed),
        *(v for v in variables(graph.ys) if v in perturbed),
    ]

    def derivative(numbers: list, weights: list, output_cts: list) -> Cotangents:
        value = dict(zip(values, numbers, strict=True))
        plain_weights = dict(zip(plain, weights, strict=True))
        ends = list(zip(outputs, output_cts, strict=True))
        return _differentiate(graph, perturbed, value, plain_weights, ends)

    weights = [struct(graph.deferred[i].weight) for i in plain]
    closed, shapes = jax.make_jaxpr(derivative, return_shape=True)(
        [struct(v) for v in values],
        [jax.ShapeDtypeStruct(w.shape if is_large(w) else w.shape[::-1], w.dtype) for w in weights],
        [struct(v) for v in outputs],
    )
    jaxpr, consts = flatten(closed)
    cotangents = jax.tree.unflatten(jax.tree.structure(shapes), jaxpr.outvars)
    return Derivative(jaxpr, consts, values, plain, cotangents)


def _differentiate(
    graph: StepGraph,
    perturbed: set[Var],
    value: dict[Var, Array],
    plain_weights: dict[int, Array],
    output_cts: list[tuple[Atom, Array]],
) -> Cotangents:
    """Follows the step's equations from its outputs to its inputs."""
    cts: dict[Var, Array] = {}
    products = {id(d.eqn): i for i, d in enumerate(graph.deferred)}
    product_cts: list[Array | None] = [None] * len(graph.deferred)

    def add(atom: Atom, ct: Array) -> None:
        if isinstance(atom, Var) and atom in perturbed:
            cts[atom] = cts[atom] + ct if atom in cts else ct

    for atom, ct in output_cts:
        add(atom, ct)
    for eqn in reversed(graph.body.eqns):
        eqn_cts: list[Any] = [cts.pop(v, None) for v in eqn.outvars]
        if all(ct is None for ct in eqn_cts):
            continue
        if id(eqn) in products:
            i = products[id(eqn)]
            product, weight = graph.deferred[i], plain_weights.get(i)
            if product.weight in perturbed:
                product_cts[i] = eqn_cts[0]
            if product.operand in perturbed:
                add(product.operand, _operand_ct(product, weight, value, eqn_cts[0]))
        elif eqn.primitive.name in FROM_OUTPUT:
            rule = FROM_OUTPUT[eqn.primitive.name]
            add(eqn.invars[0], rule(eqn_cts[0], value[eqn.outvars[0]]))
        else:
            for v, ct in _vjp(eqn, perturbed, value, eqn_cts):
                add(v, ct)
    state, sequence, fixed = (
        tuple(cts.get(v) for v in group) for group in (graph.state, graph.sequence, graph.fixed)
    )
    return Cotangents(state, sequence, fixed, tuple(product_cts))


def _operand_ct(
    product: Deferred, plain_weight: Array | None, value: dict[Var, Array], ct: Any
) -> Array:
    """The cotangent of a product's operand, from the weight alone.

    `plain_weight` is the weight of a plain product: as it is if it is large, otherwise transposed.
    """
    eqn, operand, weight = product
    if plain_weight is not None:
        multiply = turned_product if is_large(plain_weight) else jnp.matmul
        return multiply(ct, plain_weight, precision=eqn.params["precision"])

    def multiply_by_weight(a: Array) -> Array:
        return evaluate(eqn, [a if v is operand else value[weight] for v in eqn.invars])[0]

    return jax.linear_transpose(multiply_by_weight, struct(operand))(ct)[0]


def _vjp(
    eqn: Eqn, perturbed: set[Var], value: dict[Var, Array], cts: list[Array | None]
) -> list[tuple[Var, Array]]:
    """Cotangents of an equation's perturbed inputs, by JAX's own rules."""
    inputs = list(dict.fromkeys(variables(eqn.invars)))
    floats = [v for v in inputs if v in perturbed]
    outs = [i for i, v in enumerate(eqn.outvars) if is_read(v) and is_float(v)]

    def run(*float_values: Array) -> list[Array]:
        env = {v: value[v] for v in inputs} | dict(zip(floats, float_values, strict=True))
        results = evaluate(eqn, [env[v] if isinstance(v, Var) else v.val for v in eqn.invars])
        return [results[i] for i in outs]

    primals, pull_back = jax.vjp(run, *(value[v] for v in floats))
    all_cts = [
        jnp.zeros_like(p) if cts[i] is None else cts[i] for i, p in zip(outs, primals, strict=True)
    ]
    return list(zip(floats, pull_back(all_cts), strict=True))


def check_reversible(eqn: Eqn, perturbed: set[Var]) -> None:
    """Raises what JAX raises of an equation that cannot be differentiated in reverse."""
    inputs, outputs = variables(eqn.invars), [v for v in eqn.outvars if v in perturbed]

    def derivative(values: list, cts: list) -> list:
        by_var = dict(zip(outputs, cts, strict=True))
        value = dict(zip(inputs, values, strict=True))
        all_cts = [by_var.get(v) for v in eqn.outvars]
        return [ct for _, ct in _vjp(eqn, perturbed, value, all_cts)]

    if outputs:
        jax.eval_shape(derivative, list(map(struct, inputs)), list(map(struct, outputs)))


def _peel(atom: Atom | None, eqns: Sequence[Eqn]) -> tuple[Atom | None, Program | None]:
    """Takes the last sums off a parameter's cotangent; returns what they act on, and them.

    A bias gets the sum over the batch of its gate's cotangent. The loop adds up the latter, and the
    sum waits for its end: where the batch is sharded over devices, every sum is a communication.
    """
    producer = {v: eqn for eqn in eqns for v in eqn.outvars}
    inner, chain = atom, list[Eqn]()
    while inner is not None and isinstance(inner, Var) and inner in producer:
        eqn = producer[inner]
        if eqn.primitive.name not in SUMMING:
            break
        chain.insert(0, eqn)
        inner = eqn.invars[0]
    if not any(eqn.primitive.name == "reduce_sum" for eqn in chain) or not isinstance(inner, Var):
        return atom, None
    return inner, program([inner], [atom], chain)


def _assemble(
    derivative: Derivative,
    perturbed: set[Var],
    cotangents: Cotangents,
    finish: tuple[Program | None, ...],
) -> Backward:
    """The derivative as a function of those values alone that it reads."""
    jaxpr, consts, values, plain, _ = derivative
    results = list({id(atom): atom for atom in jax.tree.leaves(cotangents)}.values())
    const_inputs, inputs = jaxpr.invars[: len(consts)], jaxpr.invars[len(consts) :]
    value_inputs, other_inputs = inputs[: len(values)], inputs[len(values) :]
    used = program(jaxpr.invars, results, jaxpr.eqns).reads()
    read_inputs = {v: a for v, a in zip(values, value_inputs, strict=True) if a in used}
    lean = program(
        [*const_inputs, *read_inputs.values(), *other_inputs], results, jaxpr.eqns
    ).function

    def function(reads: list, weights: list, cts: list) -> list[Array]:
        return lean(*consts, *reads, *weights, *cts)

    place = {id(atom): i for i, atom in enumerate(results)}
    places = jax.tree.map(lambda atom: place[id(atom)], cotangents)
    return Backward(perturbed, tuple(read_inputs), plain, function, places, finish)
