"""The command `seqjax`: lists the programs, and runs one.

seqjax                           what there is
seqjax run char_lm --steps=1000  as python -m experiments.char_lm --steps=1000
"""

import importlib.util
import runpy
import sys

from experiments.common import process
from experiments.common.catalogue import programs, show

USAGE = "seqjax run NAME --flag=value ...; seqjax alone lists the programs."


def main() -> None:
    """Runs the program that the command line names."""
    process.prepare()
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("list", "-h", "--help"):
        show("seqjax run NAME")
        return
    if arguments[0] != "run" or len(arguments) < 2:
        leave(f"unknown command {arguments[0]!r}: write {USAGE}")
    name, *flags = arguments[1:]
    if name not in programs():
        leave(f"there is no program {name!r}; seqjax alone lists them.")
    if importlib.util.find_spec("absl") is None:
        leave("the programs need more packages: pip install 'seqjax[experiments]'.")
    process.leave_on_ctrl_c()
    sys.argv = [f"seqjax run {name}", *flags]
    runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)


def leave(message: str) -> None:
    """Ends with a sentence and the exit code of wrong input."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
