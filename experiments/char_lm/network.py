"""The network of a character model and what trains it, as the config says."""

from experiments.char_lm.config import Config
from experiments.common.language_models import Program, make_cell, make_program
from seqjax import init
from seqjax.training.optimizers import make_optimizer, make_schedule


def build(config: Config, vocab_size: int, num_steps: int, steps_per_epoch: int) -> Program:
    """Model, updates, and first train state."""
    initializer = init.uniform(config.init_scale) if config.init_scale else None
    draw = (
        {} if initializer is None else {"kernel_init": initializer, "recurrent_init": initializer}
    )
    schedule = make_schedule(
        config.schedule,
        config.learning_rate,
        num_steps=num_steps,
        steps_per_epoch=steps_per_epoch,
        decay_after=config.decay_after,
        decay_factor=config.decay_factor,
        warmup_steps=min(config.warmup_steps, num_steps // 10),
    )
    optimizer = make_optimizer(
        config.optimizer,
        schedule,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        clip_value=config.clip_value,
    )
    cell = make_cell(config.cell, config.hidden_size, draw)
    return make_program(config, cell, vocab_size, optimizer, schedule, initializer)
