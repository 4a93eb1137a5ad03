"""Several figures in one SVG."""

from collections.abc import Sequence

from tests.benchmarks.epistemic.figure import FOOT, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Figure

ACROSS, DOWN = LEFT + WIDTH + RIGHT, TOP + HEIGHT + FOOT


def panels(figures: Sequence[Figure], columns: int = 2) -> str:
    """Row by row, each as it is alone."""
    rows = -(-len(figures) // columns)
    inner = [
        figure.svg()
        .strip()
        .replace(
            "<svg ",
            f'<svg x="{ACROSS * (place % columns)}" y="{DOWN * (place // columns)}" width="{ACROSS}" height="{DOWN}" ',
            1,
        )
        for place, figure in enumerate(figures)
    ]
    size = f"0 0 {ACROSS * columns} {DOWN * rows}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" role="img">{"".join(inner)}</svg>\n'
