"""Lists every program with its claim: `python -m experiments`."""

from experiments.common.catalogue import show

if __name__ == "__main__":
    show("python -m experiments.NAME")
