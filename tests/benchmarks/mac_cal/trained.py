"""MaC-Cal beside other ways on trained CIFAR-10 networks: `python -m tests.benchmarks.mac_cal.trained NAME`.

`cifar10_resnet` is the shipped network, half an hour on a core; `small_networks` trains twelve of them first, an hour.
Ended and begun again it goes on.
"""

import argparse

from tests.benchmarks.mac_cal import ablated, compared
from tests.benchmarks.mac_cal.resumed import run

EXPERIMENTS = {each.name: each for each in (ablated.experiment(), compared.experiment())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=EXPERIMENTS)
    name = parser.parse_args().name
    run(EXPERIMENTS[name], f"python -m tests.benchmarks.mac_cal.trained {name}")


if __name__ == "__main__":
    main()
