"""Functions from a cell to a cell that drops units or weights in training: given a key to `unroll`.

Which mask goes where (B rows, T steps, H units, D inputs, G gates):

                        what is dropped                     shape      one mask for
    variational_dropout operands x and h of the products    [B, D|H]   a row, all its steps
    naive_dropout       operand h of the products           [B, H]     a row and a step
    candidate_dropout   what a gate adds to the state       [B, H]     a row and a step
    weight_drop         entries of the recurrent matrices   [H, G·H]   the batch, all steps

Gates share the mask of a product's operand, since one product serves them all. What is kept is divided by
the share that is kept, so that the mean over masks is the value without: evaluation (no key) needs no
factor. Masks that hold for a sequence follow from the key, so a sequence that is read in two halves keeps its
masks if both get the same key. Dropout on what goes up from layer to layer is the stack's
(`seqjax.layers.Stack`), as it is no part of a cell.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.errors import InputError, check_fraction
from seqjax.fast_scan.jaxprs import (
    Eqn,
    Jaxpr,
    Var,
    evaluate,
    flatten,
    interpret,
    is_float,
    variables,
)
from seqjax.types import Array, Cell, Params, State, check_cell
from seqjax.wrappers.randomness import Run, add_noise, probed_size


def variational_dropout(
    cell: Cell, *, inputs: float | Array = 0.0, states: float | Array = 0.0
) -> Cell:
    """One mask for a whole sequence, on x and on h (Gal and Ghahramani, 2016, eq. 7).

    Args:
      cell: one whose state has an `h`. Where a gate also copies h to the next step, as a GRU's, the copy
        is not dropped.
      inputs: the share of entries of x dropped, in [0, 1), a float or an array of shape [].
      states: the share of entries of h dropped.

    Raises:
      InputError: if a share lies outside, or the state has no h.
    """
    check_cell("variational_dropout", cell)
    size = _size_of_h("variational_dropout", cell)
    check_share("inputs", inputs)
    check_share("states", states)
    drops_h = isinstance(states, jax.Array) or states > 0
    if drops_h:
        _check_products("variational_dropout", cell)

    def per_sequence(
        key: Array, batch_shape: tuple[int, ...], input_size: int
    ) -> tuple[Array, Array]:
        input_key, state_key = jax.random.split(key)
        return (
            draw_mask(input_key, inputs, (*batch_shape, input_size)),
            draw_mask(state_key, states, (*batch_shape, size)),
        )

    def step(run: Run, masks: Any, params: Params, state: State, x: Array) -> tuple[State, Array]:
        (of_x, of_h), _ = masks
        x = x * of_x.astype(x.dtype)
        return _run_with_masked_h(run, of_h, params, state, x) if drops_h else run(params, state, x)

    return add_noise(cell, step, per_sequence=per_sequence)


def naive_dropout(cell: Cell, rate: float | Array) -> Cell:
    """A new mask on h at every step, which Gal and Ghahramani (2016) found to hurt.

    Args:
      cell: as of `variational_dropout`.
      rate: the share of entries of h dropped, in [0, 1).

    Raises:
      InputError: if the rate lies outside, or the state has no h.
    """
    check_cell("naive_dropout", cell)
    size = _size_of_h("naive_dropout", cell)
    check_share("rate", rate)
    _check_products("naive_dropout", cell)

    def per_step(key: Array, batch_shape: tuple[int, ...], input_size: int) -> Array:
        return draw_mask(key, rate, (*batch_shape, size))

    def step(run: Run, masks: Any, params: Params, state: State, x: Array) -> tuple[State, Array]:
        return _run_with_masked_h(run, masks[1], params, state, x)

    return add_noise(cell, step, per_step=per_step)


def candidate_dropout(cell: Cell, rate: float | Array) -> Cell:
    """Drops what a gate would add to the state, never what the state keeps (Semeniuta et al., 2016).

        LSTM   cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ d(gₜ)            (their eq. 11)
        GRU    hₜ = zₜ ⊙ hₜ₋₁ + (1 - zₜ) ⊙ d(nₜ)      (their eq. 12)

    Args:
      cell: one with a candidate among its gates and an `update` from them: `lstm`, `gru`,
        `gru_reset_before`, `mgu`, `mut1` to `mut3` and those with layer norms.
      rate: the share of entries of the candidate dropped at a step, in [0, 1).

    Raises:
      InputError: if the rate lies outside, or the cell has no candidate.
    """
    check_cell("candidate_dropout", cell)
    check_share("rate", rate)
    gates, update, candidate = cell.gates, cell.update, _candidate(cell)
    if gates is None or update is None or candidate is None or cell.noise is not None:
        raise InputError(
            "candidate_dropout takes a cell with an update from gates, one of which is the candidate g or"
            " n, such as lstm(128) or gru(128), as it comes: put other noise around it."
        )

    def per_step(key: Array, batch_shape: tuple[int, ...], input_size: int) -> Array:
        return draw_mask(key, rate, (*batch_shape, cell.output_size))

    def step(run: Run, masks: Any, params: Params, state: State, x: Array) -> tuple[State, Array]:
        of_gates = gates(params, state, x)
        value = getattr(of_gates, candidate)
        of_gates = of_gates._replace(**{candidate: value * masks[1].astype(value.dtype)})
        return update(params, state, of_gates)

    return add_noise(cell, step, per_step=per_step)


def weight_drop(cell: Cell, rate: float | Array) -> Cell:
    """DropConnect on the recurrent matrices: one mask for all rows and steps (Merity et al., 2018).

    Args:
      cell: one whose parameters are a dict in which the names of matrices that h is multiplied with
        begin with u, as in all cells of `CELLS`.
      rate: the share of weights dropped, in [0, 1).

    Raises:
      InputError: if the rate lies outside, or there is no such matrix.
    """
    check_cell("weight_drop", cell)
    check_share("rate", rate)

    def shapes(input_size: int) -> dict[str, tuple[int, ...]]:
        params = jax.eval_shape(lambda key: cell.init(key, input_size), jax.random.key(0))
        named = params.items() if isinstance(params, dict) else ()
        found = {name: a.shape for name, a in named if name.startswith("u")}
        if not found:
            raise InputError(
                "weight_drop takes a cell whose parameters are a dict with recurrent matrices named u,"
                f" u_n or the like, got {sorted(dict(named))}."
            )
        return found

    shapes(probed_size(cell))  # a cell without such a matrix is refused here, not when it is run

    def per_sequence(key: Array, batch_shape: tuple[int, ...], input_size: int) -> dict[str, Array]:
        found = shapes(input_size)
        keys = jax.random.split(key, len(found))
        return {
            name: draw_mask(k, rate, shape)
            for k, (name, shape) in zip(keys, found.items(), strict=True)
        }

    def step(run: Run, masks: Any, params: Params, state: State, x: Array) -> tuple[State, Array]:
        dropped = {n: params[n] * m.astype(params[n].dtype) for n, m in masks[0].items()}
        return run({**params, **dropped}, state, x)

    return add_noise(cell, step, per_sequence=per_sequence)


def draw_mask(key: Array, rate: float | Array, shape: tuple[int, ...]) -> Array:
    """Zeros in a share `rate` of the places, 1 / (1 - rate) in the others, so that the mean is 1."""
    return jax.random.bernoulli(key, 1 - rate, shape) / (1 - jnp.asarray(rate, jnp.float32))


def check_share(name: str, rate: float | Array) -> None:
    """Refuses a number outside [0, 1); arrays, which a population varies, are taken as they are."""
    if not isinstance(rate, jax.Array):
        check_fraction(name, rate)


def _size_of_h(wrapper: str, cell: Cell) -> int:
    h = getattr(jax.eval_shape(lambda: cell.initial_state(())), "h", None)
    if h is None:
        raise InputError(
            f"{wrapper} takes a cell whose state has an h, such as lstm(128), got another."
        )
    return h.shape[-1]


def _check_products(wrapper: str, cell: Cell) -> None:
    """Raises InputError if no product reads h, so that a mask on its operand would do nothing."""
    x = jnp.zeros(probed_size(cell))
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), len(x)))
    state = jax.eval_shape(lambda: cell.initial_state(()))
    jaxpr, _ = flatten(jax.make_jaxpr(cell.step)(params, state, x))
    paths = jax.tree.leaves_with_path((params, state, x))
    given = jaxpr.invars[len(jaxpr.invars) - len(paths) :]
    from_h = _from_h(jaxpr, [v for (p, _), v in zip(paths, given, strict=True) if _is_h(p)])
    if not any(_is_product_of(eqn, from_h) for eqn in jaxpr.eqns):
        raise InputError(
            f"{wrapper} drops what products read of h, and this cell has no product of h: try"
            " zoneout or candidate_dropout, or variational_dropout of the inputs alone."
        )


def _is_h(path: tuple[Any, ...]) -> bool:
    return jax.tree_util.keystr(path[-1:]) == ".h"


def _from_h(jaxpr: Jaxpr, h: Iterable[Var]) -> set[Var]:
    """All values that are computed from h, h among them."""
    from_h = {*h}
    for eqn in jaxpr.eqns:
        if from_h & {*variables(eqn.invars)}:
            from_h |= {*eqn.outvars}
    return from_h


def _is_product_of(eqn: Eqn, values: set[Var]) -> bool:
    is_product = eqn.primitive.name == "dot_general" and is_float(eqn.outvars[0])
    return is_product and bool(values & {*variables(eqn.invars)})


def _candidate(cell: Cell) -> str | None:
    """The gate that is the candidate, g or n, by the name that the cell gives it."""
    if cell.gates is None:
        return None
    batch: tuple[int, ...] = ()
    size = probed_size(cell)

    def names() -> Any:
        params = cell.init(jax.random.key(0), size)
        return cell.gates and cell.gates(params, cell.initial_state(batch), jnp.zeros(size))

    found = jax.eval_shape(names)
    return next((name for name in ("g", "n") if hasattr(found, name)), None)


def _run_with_masked_h(
    run: Run, mask: Array, params: Params, state: State, x: Array
) -> tuple[State, Array]:
    """The step with h times the mask wherever a product reads h, or what was made of h."""
    closed, out = jax.make_jaxpr(run, return_shape=True)(params, state, x)
    jaxpr, consts = flatten(closed)
    leaves = jax.tree.leaves((params, state, x))
    paths = [path for path, _ in jax.tree.leaves_with_path(state)]
    of_state = jaxpr.invars[len(consts) + len(jax.tree.leaves(params)) :]
    from_h = _from_h(jaxpr, [v for p, v in zip(paths, of_state, strict=False) if _is_h(p)])

    def rule(eqn: Eqn, inputs: list[Any]) -> list[Any]:
        if _is_product_of(eqn, from_h):
            dropped = from_h & {*variables(eqn.invars)}
            inputs = [
                a * mask.astype(a.dtype)
                if atom in dropped and a.shape[-1:] == mask.shape[-1:]
                else a
                for atom, a in zip(eqn.invars, inputs, strict=True)
            ]
        return evaluate(eqn, inputs)

    values = interpret(jaxpr, [*consts, *leaves], rule)
    return jax.tree.unflatten(jax.tree.structure(out), values)
