"""One process for each peer: a library's threads and memory disturb no other's."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from experiments.speed.peers import ENVIRONMENTS
from seqjax.files.writing import open_to_append

ROOT = Path(__file__).parents[2]


class Child:
    """The parent's end of `serve`."""

    def __init__(self, peer: str, log: Path, reuse_memory: bool):
        self._log = log
        env = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "0"}
        with open_to_append(log) as stderr:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "from experiments.speed import child;"
                    f" child.serve({peer!r}, reuse_memory={reuse_memory})",
                ],
                cwd=ROOT,
                env=os.environ | env | ENVIRONMENTS.get(peer, {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,  # Ctrl-C is the parent's
            )

    def ask(self, request: str, argument: Any) -> dict[str, Any]:
        """Sends a request and waits for the reply, without using the processor meanwhile."""
        try:
            print(json.dumps([request, argument]), file=self._process.stdin, flush=True)
            return json.loads(self._process.stdout.readline())  # type: ignore[union-attr]
        except (BrokenPipeError, json.JSONDecodeError):  # the process has ended
            return {"skipped": f"ended with code {self._process.wait()}; see {self._log}"}

    def close(self) -> None:
        """Stops the process and removes its log if that is empty."""
        self._process.kill()
        self._process.communicate()
        if not self._log.stat().st_size:
            self._log.unlink()


class Children:
    """The processes of the installed peers, started again where memory is to be reused or no more."""

    def __init__(self, peers: list[str], workdir: Path):
        self._peers, self._workdir = peers, workdir
        self._reuse: bool | None = None
        self._children: dict[str, Child] = {}

    def of(self, peers: list[str], reuse_memory: bool) -> dict[str, Child]:
        """The processes of some peers; a process reuses memory for good or never."""
        if reuse_memory != self._reuse:
            self.close()
            self._reuse = reuse_memory
            for peer in self._peers:
                self._children[peer] = Child(peer, self._workdir / f"{peer}.log", reuse_memory)
        return {peer: self._children[peer] for peer in peers if peer in self._children}

    def close(self) -> None:
        """Stops all processes."""
        while self._children:
            self._children.popitem()[1].close()
