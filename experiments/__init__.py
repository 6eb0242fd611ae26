"""Studies of recurrent networks, each a program: `python -m experiments` lists them."""

import sys

if sys.argv[:1] == ["-m"]:  # run as a program, whose own imports are still to come
    from experiments.common import process

    process.prepare()
    process.leave_on_ctrl_c()
