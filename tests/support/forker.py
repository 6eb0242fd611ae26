"""A process that has all imported and forks experiments, so that a run starts in a second.

    python -m tests.support.forker

reads a JSON object a line, `{"argv": [module, flags...], "log": path}`, and answers with a
process id; `{"wait": pid}` is answered with an exit code, minus the signal's number if one ended it.
"""

import json
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import seqjax.runs.checkpoint


def child(request: dict[str, Any]) -> None:
    """The experiment as its command line would run it, its output in the log. Never returns."""
    code = 70
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which is ignored under nohup
        if request.get("keep_all"):
            seqjax.runs.checkpoint.KEPT = 10**9
        module, *flags = request["argv"]
        sys.argv = [module, *flags]
        runpy.run_module(f"experiments.{module}", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            status = os.waitpid(request["wait"], 0)[1]
            reply = os.waitstatus_to_exitcode(status)
        else:
            reply = os.fork()
            if not reply:
                child(request)
        print(reply, flush=True)


if __name__ == "__main__":
    import experiments.char_lm
    import experiments.latch
    import experiments.word_lm  # noqa: F401

    os.chdir(Path(__file__).parents[2])
    print("ready", flush=True)
    serve()
