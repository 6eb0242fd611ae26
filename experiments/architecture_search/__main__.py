from experiments.architecture_search.config import Config
from experiments.architecture_search.program import run
from experiments.common import cli

if __name__ == "__main__":
    cli.run(run, Config)
