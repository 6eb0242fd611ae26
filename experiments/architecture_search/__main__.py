from experiments.architecture_search.program import Config, run
from experiments.common import cli

if __name__ == "__main__":
    cli.run(run, Config)
