from experiments.common import cli
from experiments.trees.program import Config, main

if __name__ == "__main__":
    cli.run(main, Config)
