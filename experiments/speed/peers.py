"""The peers of `experiments.speed`: what each of them does in which suite.

Every peer's process imports this module, which imports a library only where its peer is built: torch's process
never starts a thread or a device of JAX.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from experiments.speed.beam import seqjax_beam, torch_beam
from experiments.speed.generation import (
    seqjax_2dev_generation,
    seqjax_generation,
    torch_generation,
)
from experiments.speed.layers import (
    equinox_layer,
    haiku_layer,
    jax_work,
    keras_layer,
    linen_layer,
    nnx_layer,
    products_layer,
    seqjax_layer,
    two_devices,
)
from experiments.speed.thresholds import OTHERS, set_constants
from experiments.speed.torch_layers import torch_work
from experiments.speed.training import seqjax_training, ten_times, torch_training
from experiments.speed.work import Case, Unsupported, Work


class Peer(NamedTuple):
    package: str
    build: Callable[[Case], Work] | None
    generation: Callable[[Case], Work] | None = None
    beam: Callable[[Case], Work] | None = None
    training: Callable[[Case], Work] | None = None
    thresholds: Callable[[Case], Work] | None = None


def with_other_constants(name: str, case: Case) -> Work:
    set_constants(name)
    return jax_work(seqjax_layer, case)


PEERS = {
    "torch": Peer("torch", torch_work, torch_generation, torch_beam, torch_training),
    "torch_layer": Peer("torch", None, partial(torch_generation, layer=True)),
    "torch_compile": Peer("torch", partial(torch_work, compiled=True)),
    "linen": Peer("flax", partial(jax_work, linen_layer)),
    "nnx": Peer("flax", partial(jax_work, nnx_layer)),
    "haiku": Peer("haiku", partial(jax_work, haiku_layer)),
    "equinox": Peer("equinox", partial(jax_work, equinox_layer)),
    "keras": Peer("keras", partial(jax_work, keras_layer, batch_axis=0)),
    "plain": Peer("jax", partial(jax_work, partial(seqjax_layer, plain=True))),
    "seqjax": Peer(
        "jax",
        partial(jax_work, seqjax_layer),
        seqjax_generation,
        seqjax_beam,
        seqjax_training,
        partial(jax_work, seqjax_layer),
    ),
    "seqjax_2dev": Peer(
        "jax",
        partial(two_devices, seqjax_layer),
        seqjax_2dev_generation,
        training=partial(seqjax_training, devices=2),
    ),
    "products": Peer("jax", partial(jax_work, products_layer)),
    "products_2dev": Peer("jax", partial(two_devices, products_layer)),
} | {name: Peer("jax", None, thresholds=partial(with_other_constants, name)) for name in OTHERS}
TWO_DEVICES = "--xla_force_host_platform_device_count=2"
ENVIRONMENTS = {
    name: {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {TWO_DEVICES}"}
    for name in PEERS
    if name.endswith("_2dev")
} | {"keras": {"KERAS_BACKEND": "jax"}}


def build(peer: str, case: Case) -> Work:
    """Prepares the work of a peer on a case, in this process."""
    own = case.suite if case.suite in ("generation", "beam", "training", "thresholds") else "build"
    make = getattr(PEERS[peer], own)
    layers = PEERS[peer].build
    if make and layers and case.kind == "layers":
        make = partial(ten_times, layers)
    if make is None:
        raise Unsupported(f"takes no part in the suite {case.suite}")
    return make(case)
