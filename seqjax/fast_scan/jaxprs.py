"""Equations as data: steps traced, flattened, cut into programs, and run one equation at a time.

This is the one file that touches JAX's internals: `jax.extend.core`, the fields of its abstract
values, and what a type says about devices. All else asks the functions below.
"""

# mypy: disable-error-code="attr-defined, arg-type"
# (jax.extend.core types an atom's aval as an abstract value without shape and dtype.)

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp

from seqjax.types import Array

Var = jex.Var
Atom = Any  # a Var or a Literal
Eqn = jex.JaxprEqn
Jaxpr = jex.Jaxpr
ClosedJaxpr = jex.ClosedJaxpr

INLINED = ("jit", "pjit", "closed_call", "core_call")


class Program(NamedTuple):
    """Equations as a function: `function(*inputs) -> outputs`."""

    inputs: tuple[Var, ...]
    outputs: tuple[Atom, ...]
    function: Callable[..., list[Array]]
    eqns: tuple[Eqn, ...]

    @property
    def jaxpr(self) -> Jaxpr:
        return _jaxpr(self.inputs, self.outputs, self.eqns)

    def reads(self) -> set[Var]:
        """The inputs that are really used."""
        used = {v for eqn in self.eqns for v in variables(eqn.invars)}
        return (used | {*variables(self.outputs)}) & set(self.inputs)


def variables(atoms: Iterable[Atom]) -> list[Var]:
    """The atoms that are no literals."""
    return [v for v in atoms if isinstance(v, Var)]


def is_read(v: Var) -> bool:
    """Whether anything may read a result."""
    return not isinstance(v, jex.DropVar)


def is_float(atom: Atom) -> bool:
    """Whether a value has a cotangent."""
    return jnp.issubdtype(atom.aval.dtype, jnp.inexact)


def struct(atom: Atom) -> jax.ShapeDtypeStruct:
    """What `jax.make_jaxpr` takes for a value."""
    aval = atom.aval
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=aval.weak_type)


def is_weak(atom: Atom) -> bool:
    """Whether a value has the dtype of a Python number, which gives way to any other."""
    return atom.aval.weak_type


def zeros(atom: Atom) -> Array:
    return jnp.zeros(atom.aval.shape, atom.aval.dtype)


def is_known(size: Any) -> bool:
    """Whether a size, or a number made of sizes, is a number: `jax.export` has symbols for some."""
    return isinstance(size, int)


def num_bytes(atom: Atom) -> int:
    return math.prod(atom.aval.shape) * atom.aval.dtype.itemsize


def shown(atom: Atom, *, short: bool = True) -> str:
    """Its dtype and shape, as `f32[3,4]`, or `float32[3,4]` if not `short`."""
    return atom.aval.str_short(short_dtypes=short)


def side_effects(closed: ClosedJaxpr) -> list[str]:
    """What the equations do beside computing their results, in JAX's words."""
    return [str(e) for e in closed.effects if not _is_axis(e)]


def names_axes(closed: ClosedJaxpr) -> bool:
    """Whether the equations speak of a named axis (`psum`, `axis_index`): an effect with JAX."""
    return any(map(_is_axis, closed.effects))


def _is_axis(effect: jex.Effect) -> bool:
    return type(effect).__name__ == "NamedAxisEffect"


def tells_devices(a: Array) -> bool:
    """Whether a type says on which devices an array's parts are, as in the loops the types of all
    that they add up and stack would have to say."""
    told = jax.typeof(a)
    return bool(told.manual_axis_type.varying) or any(
        axis is not None for axis in told.sharding.spec
    )


def interpret(
    jaxpr: Jaxpr, values: Sequence[Any], rule: Callable[[Eqn, list[Any]], list[Any]]
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


def flatten(closed: ClosedJaxpr) -> tuple[Jaxpr, list[Array]]:
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


def inner_jaxpr(eqn: Eqn) -> Jaxpr | None:
    """What a function with a derivative of its own computes, flat; None of any other equation."""
    if eqn.primitive.name not in ("custom_jvp_call", "custom_vjp_call"):
        return None
    closed = eqn.params["call_jaxpr" if "call_jaxpr" in eqn.params else "fun_jaxpr"]
    jaxpr, consts = flatten(closed)
    return jaxpr if len(jaxpr.invars) == len(eqn.invars) and not consts else None


def program(inputs: Sequence[Var], outputs: Sequence[Atom], eqns: Iterable[Eqn]) -> Program:
    """The equations that `outputs` need, as a function of `inputs`."""
    given = set(inputs)
    live = {*variables(outputs)} - given
    needed: list[Eqn] = []
    for eqn in reversed(list(eqns)):
        if live & set(eqn.outvars):
            needed.insert(0, eqn)
            live |= {*variables(eqn.invars)} - given
    function = jex.jaxpr_as_fun(ClosedJaxpr(_jaxpr(inputs, outputs, needed), ()))
    return Program(tuple(inputs), tuple(outputs), function, tuple(needed))


def evaluate(eqn: Eqn, inputs: Sequence[Any]) -> list[Any]:
    """Evaluates one equation; None for results that nothing reads."""
    given = {v: x for v, x in zip(eqn.invars, inputs, strict=True) if isinstance(v, Var)}
    wanted = [v for v in eqn.outvars if is_read(v)]
    results = iter(program(tuple(given), wanted, [eqn]).function(*given.values()))
    return [next(results) if is_read(v) else None for v in eqn.outvars]


def _jaxpr(inputs: Sequence[Var], outputs: Sequence[Atom], eqns: Sequence[Eqn]) -> Jaxpr:
    info = jex.DebugInfo("scan", "part of a recurrent step", None, None)
    return Jaxpr((), list(inputs), list(outputs), list(eqns), debug_info=info)
