from experiments.caption.program import Config, main
from experiments.common import cli

if __name__ == "__main__":
    cli.run(main, Config, processes=True)
