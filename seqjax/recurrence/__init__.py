"""Everything about time: unrolling a cell, lengths, truncation, both directions; and trees.

Its public functions are `seqjax.unroll`, `unroll_loop`, `unroll_truncated` and `bidirectional`, and
`schedule` and `compose` of `seqjax.recurrence.tree`.
Nothing here knows of training, models or files.
"""
