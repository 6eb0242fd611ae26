from experiments.common import cli
from experiments.lstm_variants.config import Config
from experiments.lstm_variants.program import run

if __name__ == "__main__":
    cli.run(run, Config)
