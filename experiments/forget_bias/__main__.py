from experiments.common import cli
from experiments.forget_bias.program import Config, run

if __name__ == "__main__":
    cli.run(run, Config)
