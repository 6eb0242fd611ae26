from experiments.common import cli
from experiments.export.program import Config, run

if __name__ == "__main__":
    cli.run(run, Config)
