"""Reading a recurrent step: what can leave the loop, and what a backward loop needs.

A step `(params, state, x) -> (state, y)` is traced to a jaxpr, and each of its values is of one of
three kinds: *fixed* values depend on parameters alone, *sequence* values on parameters and x, *loop*
values on the state. From these follow

    hoisted products     sequence @ weight: one product over all steps, before the loop;
    deferred products    loop @ weight: their weight gradients are one product, after the loop;
    the backward step    elementwise work and the deferred products' transposes, nothing else.

Equations in, functions out: `seqjax.scan` runs the parts. Only `jax.extend.core` is used.
"""

# mypy: disable-error-code="attr-defined, arg-type"
# (jax.extend.core types an atom's aval as an abstract value without shape and dtype.)

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp

from seqjax.fast_scan.products import is_large, is_plain_product, turned_product
from seqjax.types import Array

Var = jex.Var
Atom = Any  # a Var or a Literal
Eqn = jex.JaxprEqn

PRODUCTS = ("dot_general", "conv_general_dilated")  # linear in each operand
INLINED = ("jit", "pjit", "closed_call", "core_call")

# Derivatives from the output alone, so that the input of these functions need not be kept.
FROM_OUTPUT: dict[str, Callable[[Array, Array], Array]] = {
    "tanh": lambda ct, y: ct * (1 - y * y),
    "logistic": lambda ct, y: ct * (y * (1 - y)),
    "exp": lambda ct, y: ct * y,
}

# Work that costs less to repeat in the backward loop than its result costs to keep. (tanh is
# repeated where its argument can be had again, as an LSTM's tanh(c): one array less in memory.)
CHEAP = frozenset(
    """abs add and broadcast_in_dim clamp concatenate convert_element_type copy eq expand_dims ge
    gt integer_pow iota is_finite le lt max min mul ne neg not or reduce_precision reshape select_n sign slice split
    square squeeze stop_gradient sub transpose tanh""".split()
)


class Program(NamedTuple):
    """Equations as a function: `function(*inputs) -> outputs`."""

    inputs: tuple[Var, ...]
    outputs: tuple[Atom, ...]
    function: Callable[..., list[Array]]
    eqns: tuple[Eqn, ...]

    @property
    def jaxpr(self) -> jex.Jaxpr:
        return _jaxpr(self.inputs, self.outputs, self.eqns)

    def reads(self) -> set[Var]:
        """The inputs that are really used."""
        used = {v for eqn in self.eqns for v in eqn.invars if isinstance(v, Var)}
        return (used | {v for v in self.outputs if isinstance(v, Var)}) & set(self.inputs)


class Deferred(NamedTuple):
    """A product of a loop value and a weight, whose weight gradient waits for the loop's end."""

    eqn: Eqn
    operand: Var
    weight: Var


class Backward(NamedTuple):
    """The derivative of one step, the deferred weights left out.

    `function(reads, weights of `plain`, cotangents) -> results`, where large weights are as they are
    and others transposed, and the cotangents belong to the float leaves of (new state, y). The fields
    below `function` are places among the results, None where there is no cotangent.
    """

    reads: tuple[Var, ...]  # values of the forward step
    plain: tuple[int, ...]  # which deferred products are `a @ weight`
    function: Callable[[list[Array], list[Array], list[Array]], list[Array]]
    state: tuple[int | None, ...]
    sequence: tuple[int | None, ...]
    fixed: tuple[int | None, ...]
    deferred: tuple[int | None, ...]
    finish: tuple[Program | None, ...]  # what is left to do to a sum of `fixed` over the steps


class StepGraph(NamedTuple):
    """A step taken apart."""

    fix: Program  # params -> all fixed values that hoist and the loops read
    hoist: Program  # fix's outputs, x -> hoisted products, for one step
    fixed: tuple[Var, ...]  # fixed values that the loops read
    sequence: tuple[Var, ...]  # hoisted products and leaves of x that the loops read
    state: tuple[Var, ...]
    xs: tuple[Var, ...]  # leaves of x
    ends: tuple[tuple[Atom, ...], tuple[Atom, ...]]  # the new state, and y
    kept: tuple[Var, ...]  # what the forward loop keeps for the backward loop
    shifted: tuple[tuple[Var, int], ...]  # kept state that is the y (which?) of the step before
    kept_hoisted: tuple[Var, ...]  # hoisted products that the backward loop reads
    forward: Program  # fixed, sequence, state -> new state, y, kept
    replay: Program  # fixed, sequence, kept -> what is repeated rather than kept
    backward: Backward
    deferred: tuple[Deferred, ...]
    accumulated: tuple[tuple[str, Var], ...]  # weights of products that could not be deferred


def is_float(atom: Atom) -> bool:
    """Whether a value has a cotangent."""
    return jnp.issubdtype(atom.aval.dtype, jnp.inexact)


def interpret(
    jaxpr: jex.Jaxpr, values: Sequence[Any], rule: Callable[[Eqn, list[Any]], list[Any]]
) -> list[Any]:
    """Runs the equations one by one, `rule(equation, inputs)` giving the results of each.

    `values` belong to the constants, then the inputs.
    """
    env = dict(zip([*jaxpr.constvars, *jaxpr.invars], values, strict=True))

    def value(atom: Atom) -> Any:
        return env[atom] if isinstance(atom, Var) else atom.val

    for eqn in jaxpr.eqns:
        env.update(zip(eqn.outvars, rule(eqn, [value(a) for a in eqn.invars]), strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def flatten(closed: jex.ClosedJaxpr) -> tuple[jex.Jaxpr, list[Array]]:
    """The same equations without calls of jitted functions, and with constants as first inputs."""

    def inline(eqn: Eqn, inputs: list[Any]) -> list[Any]:
        if eqn.primitive.name not in INLINED:
            return evaluate(eqn, inputs)
        inner = eqn.params["jaxpr" if "jaxpr" in eqn.params else "call_jaxpr"]
        return interpret(inner.jaxpr, [*inner.consts, *inputs], inline)

    inputs = [*closed.jaxpr.constvars, *closed.jaxpr.invars]
    flat = jax.make_jaxpr(lambda *values: interpret(closed.jaxpr, values, inline))(
        *map(struct, inputs)
    )
    jaxpr = flat.jaxpr
    named = _jaxpr([*jaxpr.constvars, *jaxpr.invars], jaxpr.outvars, jaxpr.eqns)
    return named, [*flat.consts, *closed.consts]


def program(inputs: Sequence[Var], outputs: Sequence[Atom], eqns: Iterable[Eqn]) -> Program:
    """The equations that `outputs` need, as a function of `inputs`."""
    given = set(inputs)
    live = {v for v in outputs if isinstance(v, Var)} - given
    needed: list[Eqn] = []
    for eqn in reversed(list(eqns)):
        if live & set(eqn.outvars):
            needed.insert(0, eqn)
            live |= {v for v in eqn.invars if isinstance(v, Var)} - given
    function = jex.jaxpr_as_fun(jex.ClosedJaxpr(_jaxpr(inputs, outputs, needed), ()))
    return Program(tuple(inputs), tuple(outputs), function, tuple(needed))


def evaluate(eqn: Eqn, inputs: Sequence[Any]) -> list[Any]:
    """Evaluates one equation; None for results that nothing reads."""
    given = {v: x for v, x in zip(eqn.invars, inputs, strict=True) if isinstance(v, Var)}
    wanted = [v for v in eqn.outvars if _is_read(v)]
    results = iter(program(tuple(given), wanted, [eqn]).function(*given.values()))
    return [next(results) if _is_read(v) else None for v in eqn.outvars]


def read_step(jaxpr: jex.Jaxpr, num_params: int, num_state: int, keep: str) -> StepGraph:
    """Takes a flat step apart.

    Args:
      jaxpr: from `flatten`; inputs are params (constants first), state, x; outputs are the new
        state and y.
      num_params: how many inputs are parameters or constants.
      num_state: how many inputs are state, and how many outputs are the new state.
      keep: "gates": keep what the backward step reads and cannot have again by CHEAP work;
        "products": keep the recurrent products, repeat the rest.
    """
    params, others = jaxpr.invars[:num_params], jaxpr.invars[num_params:]
    state, xs = tuple(others[:num_state]), others[num_state:]
    fixed, looped = set(params), set(state)
    for eqn in jaxpr.eqns:
        inputs = {v for v in eqn.invars if isinstance(v, Var)}
        if inputs <= fixed:
            fixed |= set(eqn.outvars)
        elif inputs & looped:
            looped |= set(eqn.outvars)
    order = [*jaxpr.invars, *(v for eqn in jaxpr.eqns for v in eqn.outvars)]

    def weight(eqn: Eqn) -> Var | None:
        """The one fixed float operand of a product."""
        found = [v for v in eqn.invars if isinstance(v, Var) and v in fixed and is_float(v)]
        return found[0] if eqn.primitive.name in PRODUCTS and len(found) == 1 else None

    fix_eqns = [e for e in jaxpr.eqns if set(e.outvars) <= fixed]
    before = [e for e in jaxpr.eqns if not set(e.outvars) & (fixed | looped)]
    hoisted = [e.outvars[0] for e in before if weight(e) is not None]
    inside = [e for e in jaxpr.eqns if not set(e.outvars) & ({*hoisted} | fixed)]
    body = program((), jaxpr.outvars, inside).eqns
    made = {v for e in body for v in e.outvars}
    atoms = [*(v for e in body for v in e.invars), *jaxpr.outvars]
    read = {v for v in atoms if isinstance(v, Var)}
    loop_fixed = tuple(v for v in order if v in read and v in fixed)
    sequence = tuple(v for v in order if v in read and v not in fixed | made | {*state})
    hoist = program((*fixed, *xs), [v for v in hoisted if v in sequence], before)
    fix_out = [v for v in order if v in fixed and v in ({*loop_fixed} | hoist.reads())]

    deferred, accumulated = [], []
    for eqn in body:
        if (w := weight(eqn)) is not None:
            operand = next(v for v in eqn.invars if v is not w)
            deferred.append(Deferred(eqn, operand, w))
        elif eqn.primitive.name not in CHEAP and eqn.primitive.name not in PRODUCTS:
            found = [v for v in eqn.invars if isinstance(v, Var) and v in loop_fixed]
            accumulated += [
                (eqn.primitive.name, v) for v in found if min(v.aval.shape, default=1) > 1
            ]
    backward = _trace_backward(body, deferred, state, sequence, loop_fixed, jaxpr.outvars)
    needed = {*backward.reads, *(d.operand for d in deferred)}
    # Hoisted products are used up by the forward loop: to read them again is to keep them.
    free = {*loop_fixed, *state, *(v for v in sequence if keep == "products" or v in xs)}
    candidates = [*state, *_worth_keeping(body, needed, free, keep, [d.eqn for d in deferred])]
    replayed = [v for v in order if v in needed and v not in free and v not in candidates]
    replay = program((*loop_fixed, *sequence, *candidates), replayed, body)
    kept = tuple(v for v in candidates if v in needed | replay.reads())
    news = jaxpr.outvars[:num_state]
    ys = [v if isinstance(v, Var) else None for v in jaxpr.outvars[num_state:]]
    return StepGraph(
        fix=program(params, fix_out, fix_eqns),
        hoist=program((*fix_out, *xs), hoist.outputs, hoist.eqns),
        fixed=loop_fixed,
        sequence=sequence,
        state=state,
        xs=tuple(xs),
        ends=(tuple(jaxpr.outvars[:num_state]), tuple(jaxpr.outvars[num_state:])),
        kept=kept,
        shifted=tuple(
            (old, ys.index(new))
            for old, new in zip(state, news, strict=True)
            if old in kept and isinstance(new, Var) and new in ys
        ),
        kept_hoisted=tuple(v for v in hoist.outputs if v in needed | replay.reads()),
        forward=program((*loop_fixed, *sequence, *state), (*jaxpr.outvars, *kept), body),
        replay=program((*loop_fixed, *sequence, *kept), replayed, body),
        backward=backward,
        deferred=tuple(deferred),
        accumulated=tuple(accumulated),
    )


def forward_alone(graph: StepGraph) -> StepGraph:
    """The same step where no gradient will be asked for: nothing is kept."""
    inputs, eqns = graph.forward.inputs, graph.forward.eqns
    forward = program(inputs, (*graph.ends[0], *graph.ends[1]), eqns)
    return graph._replace(forward=forward, kept=(), kept_hoisted=(), shifted=())


def _worth_keeping(
    eqns: Sequence[Eqn], needed: set[Var], free: set[Var], keep: str, products: list[Eqn]
) -> list[Var]:
    available, kept = set(free), []
    for eqn in eqns:
        cheap = eqn not in products if keep == "products" else eqn.primitive.name in CHEAP
        repeatable = cheap and all(v in available for v in eqn.invars if isinstance(v, Var))
        for v in filter(_is_read, eqn.outvars):
            if repeatable:
                available.add(v)
            elif v in needed or keep == "products":
                available.add(v)
                kept.append(v)
    return kept


def _trace_backward(
    eqns: Sequence[Eqn],
    deferred: Sequence[Deferred],
    state: Sequence[Var],
    sequence: Sequence[Var],
    fixed: Sequence[Var],
    outputs: Sequence[Atom],
) -> Backward:
    """Reverse-mode differentiation of one step, traced with every forward value as an input."""
    made = [v for eqn in eqns for v in eqn.outvars if _is_read(v)]
    values = [*fixed, *sequence, *state, *made]
    products = {id(d.eqn): i for i, d in enumerate(deferred)}
    plain = tuple(
        i for i, d in enumerate(deferred) if is_plain_product(d.eqn) and d.eqn.invars[1] is d.weight
    )
    float_outputs = [v for v in outputs if is_float(v)]
    missing: list[list[bool]] = []  # which results have no cotangent, learnt in tracing

    def differentiate(env: list, weights: list, cts_out: list) -> list[Array]:
        value = dict(zip(values, env, strict=True))
        plain_weight = dict(zip(plain, weights, strict=True))
        cts: dict[Var, Array] = {}
        product_cts: list[Array | None] = [None] * len(deferred)

        def add(atom: Atom, ct: Array) -> None:
            if isinstance(atom, Var) and is_float(atom):
                cts[atom] = cts[atom] + ct if atom in cts else ct

        for atom, ct in zip(float_outputs, cts_out, strict=True):
            add(atom, ct)
        for eqn in reversed(eqns):
            eqn_cts = [cts.pop(v, None) for v in eqn.outvars]
            if all(ct is None for ct in eqn_cts):
                continue
            if id(eqn) in products:
                i = products[id(eqn)]
                product_cts[i] = ct = eqn_cts[0]
                if i in plain_weight:
                    multiply = turned_product if is_large(plain_weight[i]) else jnp.matmul
                    precision = eqn.params["precision"]
                    add(deferred[i].operand, multiply(ct, plain_weight[i], precision=precision))
                else:
                    add(deferred[i].operand, _transpose(deferred[i], value, ct))
            elif eqn.primitive.name in FROM_OUTPUT:
                rule = FROM_OUTPUT[eqn.primitive.name]
                add(eqn.invars[0], rule(eqn_cts[0], value[eqn.outvars[0]]))
            else:
                for v, ct in _vjp(eqn, value, eqn_cts):
                    add(v, ct)
        groups = [[cts.get(v) for v in group] for group in (state, sequence, fixed)]
        groups.append(product_cts)
        missing[:] = [[ct is None for ct in group] for group in groups]
        return [ct for group in groups for ct in group if ct is not None]

    closed = jax.make_jaxpr(differentiate)(
        [struct(v) for v in values],
        [
            jax.ShapeDtypeStruct(w.shape if is_large(w) else w.shape[::-1], w.dtype)
            for w in (deferred[i].weight.aval for i in plain)
        ],
        [struct(v) for v in float_outputs],
    )
    jaxpr, consts = flatten(closed)
    inputs = jaxpr.invars[len(consts) :]
    traced = iter(jaxpr.outvars)
    ends = [[None if absent else next(traced) for absent in group] for group in missing]
    peeled = [_peel(atom, jaxpr.eqns) for atom in ends[2]]
    ends[2] = [atom for atom, _ in peeled]
    atoms = [atom for group in ends for atom in group if atom is not None]
    results = list({id(atom): atom for atom in atoms}.values())
    whole = program(jaxpr.invars, results, jaxpr.eqns)
    used = whole.reads()
    read_places = [i for i, v in enumerate(inputs[: len(values)]) if v in used]
    read_inputs = [inputs[i] for i in read_places]
    const_inputs = jaxpr.invars[: len(consts)]
    lean = program(
        [*const_inputs, *read_inputs, *inputs[len(values) :]], results, jaxpr.eqns
    ).function

    def function(reads: list, weights: list, cts: list) -> list[Array]:
        return lean(*consts, *reads, *weights, *cts)

    place = {id(atom): i for i, atom in enumerate(results)}
    to_state, to_sequence, to_fixed, to_products = (
        tuple(None if a is None else place[id(a)] for a in group) for group in ends
    )
    return Backward(
        reads=tuple(values[i] for i in read_places),
        plain=plain,
        function=function,
        state=to_state,
        sequence=to_sequence,
        fixed=to_fixed,
        deferred=to_products,
        finish=tuple(rest for _, rest in peeled),
    )


def _peel(atom: Atom | None, eqns: Sequence[Eqn]) -> tuple[Atom | None, Program | None]:
    """Takes the last sums off a parameter's cotangent; returns what they act on, and them.

    A bias gets the sum over the batch of its gate's cotangent. The loop adds up the latter, and the
    sum waits for its end: where the batch is sharded over devices, every sum is a communication.
    """
    producer = {v: eqn for eqn in eqns for v in eqn.outvars}
    inner, chain = atom, list[Eqn]()
    while inner is not None and isinstance(inner, Var) and inner in producer:
        eqn = producer[inner]
        if eqn.primitive.name not in ("reduce_sum", "reshape", "squeeze", "broadcast_in_dim"):
            break
        chain.insert(0, eqn)
        inner = eqn.invars[0]
    if not any(eqn.primitive.name == "reduce_sum" for eqn in chain) or not isinstance(inner, Var):
        return atom, None
    return inner, program([inner], [atom], chain)


def _transpose(product: Deferred, value: dict[Var, Array], ct: Array) -> Array:
    """The cotangent of a product's operand, from the weight alone."""
    eqn, operand, weight = product

    def multiply(a: Array) -> Array:
        inputs = [a if v is operand else value[weight] for v in eqn.invars]
        return evaluate(eqn, inputs)[0]

    return jax.linear_transpose(multiply, struct(operand))(ct)[0]


def _vjp(eqn: Eqn, value: dict[Var, Array], cts: list[Array | None]) -> list[tuple[Var, Array]]:
    """Cotangents of an equation's float inputs, by JAX's own rules."""
    variables = list(dict.fromkeys(v for v in eqn.invars if isinstance(v, Var)))
    diff = [v for v in variables if is_float(v)]
    outs = [i for i, v in enumerate(eqn.outvars) if _is_read(v) and is_float(v)]

    def run(*floats: Array) -> list[Array]:
        env = {v: value[v] for v in variables} | dict(zip(diff, floats, strict=True))
        inputs = [env[v] if isinstance(v, Var) else v.val for v in eqn.invars]
        results = evaluate(eqn, inputs)
        return [results[i] for i in outs]

    primals, pull_back = jax.vjp(run, *(value[v] for v in diff))
    full = [
        jnp.zeros_like(p) if cts[i] is None else cts[i] for i, p in zip(outs, primals, strict=True)
    ]
    return list(zip(diff, pull_back(full), strict=True))


def _jaxpr(inputs: Sequence[Var], outputs: Sequence[Atom], eqns: Sequence[Eqn]) -> jex.Jaxpr:
    info = jex.DebugInfo("scan", "part of a recurrent step", None, None)
    return jex.Jaxpr((), list(inputs), list(outputs), list(eqns), debug_info=info)


def _is_read(v: Var) -> bool:
    return not isinstance(v, jex.DropVar)


def struct(atom: Atom) -> jax.ShapeDtypeStruct:
    """What `jax.make_jaxpr` takes for a value."""
    aval = atom.aval
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)
