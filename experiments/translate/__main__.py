from experiments.common import cli
from experiments.translate.program import Config, main

if __name__ == "__main__":
    cli.run(main, Config, processes=True)
