from experiments.common import cli
from experiments.frames.program import Config, run

if __name__ == "__main__":
    cli.run(run, Config, processes=True)
