"""A process of the local engine: a line of JSON in, a line of JSON out, until its input ends.

What an evaluation prints goes to standard error, so that standard output carries results alone.
"""

import json
import os
import sys

from seqjax.search.engines.records import evaluate


def main() -> None:
    """Answers every line `{"function", "record", "versions"}` with one `{"row", "error"}`."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(evaluate(**json.loads(line))._asdict()), file=answers, flush=True)


if __name__ == "__main__":
    main()
