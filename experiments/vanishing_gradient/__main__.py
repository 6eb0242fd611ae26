from experiments.common import cli
from experiments.vanishing_gradient.program import Config, main

if __name__ == "__main__":
    cli.run(main, Config)
