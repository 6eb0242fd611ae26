"""Everything about time: unrolling a cell, lengths, truncation, both directions.

Its public functions are `seqjax.unroll`, `unroll_loop`, `unroll_truncated` and `bidirectional`.
Nothing here knows of training, models or files.
"""
