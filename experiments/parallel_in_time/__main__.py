from experiments.common import cli
from experiments.parallel_in_time.program import Config, run

if __name__ == "__main__":
    cli.run(run, Config)
