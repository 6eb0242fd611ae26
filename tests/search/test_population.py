"""Populations: each member as if it were alone, and none touches another."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from seqjax import lstm, unroll
from seqjax.devices.mesh import batch_mesh
from seqjax.errors import InputError
from seqjax.runs.checkpoint import Checkpoints
from seqjax.search.population import (
    ALL_ROUNDS,
    DIVERGED,
    NO_PROGRESS,
    fill_up,
    init_population,
    is_running,
    make_round,
)

P, T, B, D, H = 6, 7, 3, 2, 4
CELL = lstm(H)


def advance(member, hyper, data):
    """Some updates of momentum SGD with noise on the inputs; the loss is the next one's."""
    xs, ys = data
    optimizer = optax.sgd(hyper["rate"], 0.9)

    def loss_fn(params, xs):
        _, hs = unroll(CELL, params["cell"], xs)
        return jnp.mean((hs @ params["head"] - ys) ** 2)

    def update(carry, _):
        params, opt_state, step = carry
        key = jax.random.fold_in(hyper["key"], step)
        noisy = xs + hyper["noise"] * jax.random.normal(key, xs.shape)
        grads = jax.grad(loss_fn)(params, noisy)
        updates, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, updates), opt_state, step + 1), None

    member, _ = lax.scan(update, member, length=3)
    loss = loss_fn(member[0], xs)
    return member, loss, {"loss": loss}


def pick(member):
    return member[0]


def problem(rates):
    rng = np.random.default_rng(0)
    data = (rng.normal(size=(T, B, D)).astype("f"), rng.normal(size=(T, B, 1)).astype("f"))
    keys = jax.random.split(jax.random.key(1), len(rates))
    hyper = {
        "rate": jnp.asarray(rates, jnp.float32),
        "noise": jnp.linspace(0, 0.5, len(rates)),
        "key": keys,
    }

    def init(key, rate):
        params = {"cell": CELL.init(key, D), "head": jax.random.normal(key, (H, 1))}
        return params, optax.sgd(rate, 0.9).init(params), jnp.zeros((), jnp.int32)

    return jax.vmap(init)(keys, hyper["rate"]), hyper, data


RATES = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]


def trained(rates, rounds=5, **options):
    members, hyper, data = problem(rates)
    mesh = options.get("mesh")
    multiple = options.get("group", 1) * (mesh.size if mesh else 1)
    round_ = make_round(advance, pick=pick, patience=3, max_rounds=rounds, **options)
    population = init_population(fill_up(members, multiple), pick=pick, count=len(rates))
    hyper = fill_up(hyper, multiple)
    while is_running(population):
        population, _ = round_(population, hyper, data)
    return population


def assert_same(a, b, exact):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if exact:
            np.testing.assert_array_equal(x, y)
        else:
            np.testing.assert_allclose(x, y, rtol=2e-4, atol=1e-6)


def member_of(population, i):
    return jax.tree.map(lambda a: a[i], population.trials)


@pytest.mark.parametrize(
    ("group", "devices"),
    [(1, 1), *(pytest.param(*case, marks=pytest.mark.long) for case in ((2, 2), (4, 1), (1, 2)))],
)
@pytest.mark.long
def test_every_member_is_the_run_it_would_be_alone(group, devices):
    mesh = batch_mesh(devices) if devices > 1 else None
    whole = trained(RATES, group=group, mesh=mesh)
    members, hyper, data = problem(RATES)
    for i in range(P):
        one, h = jax.tree.map(lambda a, i=i: a[i], (members, hyper))
        best, best_loss, best_round, rounds = one[0], np.inf, 0, 0
        while rounds < 5 and rounds - best_round < 3:
            one, loss, _ = jax.jit(advance)(one, h, data)
            rounds += 1
            if loss < best_loss:
                best, best_loss, best_round = one[0], float(loss), rounds
        found = member_of(whole, i)
        assert (int(found.rounds), int(found.best_round)) == (rounds, best_round)
        np.testing.assert_allclose(found.best_loss, best_loss, rtol=1e-4)
        assert_same(found.best, best, exact=False)


@pytest.mark.numeric
@pytest.mark.parametrize("group", [2, pytest.param(1, marks=pytest.mark.long)])
def test_divergence_touches_no_other(group):
    good = trained([0.01, 0.03, 0.1, 0.3], group=group)
    bad = trained([0.01, 1e30, 0.1, 0.3], group=group)
    assert int(bad.trials.status[1]) == DIVERGED
    for leaf in jax.tree.leaves(member_of(bad, 1).best):
        assert np.isfinite(leaf).all()
    for i in (0, 2, 3):
        assert_same(member_of(good, i), member_of(bad, i), exact=True)


def table_advance(member, hyper, data):
    """The validation losses of a member are written in a table."""
    return member + 1, hyper[member], {}


INF, NAN = np.inf, np.nan
TABLES = [  # losses of the rounds; then best loss, its round, rounds, why it stopped
    ([5, 4, 3, 2, 1, 0], (0, 6, 6, ALL_ROUNDS)),
    ([5, 4, 4, 4, 9, 9], (4, 2, 4, NO_PROGRESS)),
    ([5, 6, 4, 6, 6, 0], (4, 3, 5, NO_PROGRESS)),
    ([5, NAN, 1, 1, 1, 1], (5, 1, 2, DIVERGED)),
    ([INF, 1, 1, 1, 1, 1], (INF, 0, 1, DIVERGED)),
    ([1, 2, 0, 2, 2, 0], (0, 3, 5, NO_PROGRESS)),
]


@pytest.mark.parametrize("group", [1, 2, 3])
def test_when_members_stop(group):
    tables = jnp.array([t for t, _ in TABLES], jnp.float32)
    round_ = make_round(table_advance, pick=lambda m: m, patience=2, max_rounds=6, group=group)
    population = init_population(jnp.zeros(6, jnp.int32), pick=lambda m: m)
    while is_running(population):
        population, _ = round_(population, tables, None)
    trials = population.trials
    found = [trials.best_loss, trials.best_round, trials.rounds, trials.status]
    for i, (_, expected) in enumerate(TABLES):
        assert tuple(float(a[i]) for a in found) == expected
    np.testing.assert_array_equal(trials.best, trials.best_round)
    assert int(population.step) == 6


def test_a_member_that_has_stopped_has_no_metrics():
    """Whether its group still runs or not; integers are 0."""

    def told(member, hyper, data):
        member, loss, _ = table_advance(member, hyper, data)
        return member, loss, {"loss": loss, "count": jnp.int32(7)}

    tables = jnp.array([[5, 9, 9, 9], [5, 4, 3, 2], [5, 9, 9, 9], [5, 9, 9, 9]], jnp.float32)
    round_ = make_round(told, pick=lambda m: m, patience=1, max_rounds=4, group=2)
    population = init_population(jnp.zeros(4, jnp.int32), pick=lambda m: m)
    seen = [round_(population, tables, None)]
    for _ in range(2):
        seen.append(round_(seen[-1][0], tables, None))
    assert seen[1][1]["loss"].tolist() == [9, 4, 9, 9]
    np.testing.assert_array_equal(seen[2][1]["loss"], [NAN, 3, NAN, NAN])
    assert seen[2][1]["count"].tolist() == [0, 7, 0, 0]


def test_a_stopped_group_is_not_run():
    calls = []

    def counted(member, hyper, data):
        jax.debug.callback(lambda m: calls.append(int(m)), hyper[0])
        return table_advance(member, hyper, data)

    tables = jnp.array([[i, 9, 9, 9, 9] if i < 2 else [i, 1, 0, -1, -2] for i in range(4)], "f")
    round_ = make_round(counted, pick=lambda m: m, patience=1, max_rounds=5, group=2)
    population = init_population(jnp.zeros(4, jnp.int32), pick=lambda m: m)
    for _ in range(5):
        population, _ = round_(population, tables, None)
    jax.effects_barrier()
    assert (calls.count(0), calls.count(1)) == (2, 2)
    assert (calls.count(2), calls.count(3)) == (5, 5)


@pytest.mark.numeric
@pytest.mark.long
def test_resumed_from_a_checkpoint_it_is_the_same(tmp_path):
    members, hyper, data = problem(RATES)
    round_ = make_round(advance, pick=pick, patience=3, max_rounds=6, group=2)
    whole = init_population(members, pick=pick)
    checkpoints = Checkpoints(tmp_path / "population")
    for k in range(6):
        whole, _ = round_(whole, hyper, data)
        if k == 2:
            checkpoints.save(whole, {})
    half = checkpoints.restore(init_population(members, pick=pick))
    checkpoints.close()
    for _ in range(3):
        half, _ = round_(half, hyper, data)
    assert_same(whole, half, exact=True)


def test_bad_numbers_are_refused():
    for change in ({"patience": 0}, {"max_rounds": -1}, {"group": 0}):
        with pytest.raises(InputError, match=f"{next(iter(change))} must be"):
            make_round(advance, pick=pick, **{"patience": 1, "max_rounds": 1} | change)
    round_ = make_round(table_advance, pick=lambda m: m, patience=1, max_rounds=1, group=4)
    population = init_population(jnp.zeros(6, jnp.int32), pick=lambda m: m)
    with pytest.raises(InputError, match="a population of 6 cannot be split into groups of 4"):
        round_(population, jnp.zeros((6, 1)), None)


def test_patience_runs_out_under_x64():
    """An equal float64 loss is not lower than the best one, which is kept in float32."""
    with jax.enable_x64(True):
        advance = lambda member, hyper, data: (member, jnp.float64(0.1), {})  # noqa: E731
        population = init_population({"w": jnp.zeros(2)}, pick=lambda m: m)
        round_ = make_round(advance, pick=lambda m: m, patience=2, max_rounds=99)
        for _ in range(3):
            population, _ = round_(population, jnp.zeros(2), ())
    assert population.trials.best_round.tolist() == [1, 1]
    assert not is_running(population)


def test_members_and_what_differs_must_fit():
    round_ = make_round(lambda m, h, d: (m, h, {}), pick=lambda m: m, patience=1, max_rounds=1)
    population = init_population({"w": jnp.zeros(4)}, pick=lambda m: m)
    with pytest.raises(InputError, match="one entry for each of 4 members"):
        round_(population, jnp.zeros(3), ())
    with pytest.raises(InputError, match="count must be at most the 4 members"):
        init_population({"w": jnp.zeros(4)}, pick=lambda m: m, count=9)
    with pytest.raises(InputError, match=r"arrays \[P, ...\], got none"):
        init_population({}, pick=lambda m: m)
