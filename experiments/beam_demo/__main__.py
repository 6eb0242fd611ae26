from experiments.beam_demo.program import Config, run
from experiments.common import cli

if __name__ == "__main__":
    cli.run(run, Config)
