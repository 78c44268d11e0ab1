"""Release arithmetic: is a difference larger than chance? Plain Python, so that a verdict needs no library to repeat."""

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True)
class Interval:
    """An estimate and the range that covers the truth at the asked confidence."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Block:
    """Rows judged together (a day, a flight number): rows within one are alike, so chance is counted in blocks."""

    rows: int
    candidate: float
    champion: float


def wilson(successes: int, rows: int, confidence: float = 0.95) -> Interval:
    """The share of successes with Wilson's interval, which stays honest for few rows and for shares near 0 or 1."""
    if rows <= 0 or not 0 <= successes <= rows:
        raise ValueError(f"{successes} successes of {rows} rows is not a share")
    z, share = NormalDist().inv_cdf(0.5 + confidence / 2), successes / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * (share * (1 - share) / rows + z * z / (4 * rows * rows)) ** 0.5
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def paired_difference(blocks: Sequence[Block], confidence: float = 0.95, resamples: int = 2000) -> Interval:
    """Mean loss of the candidate minus the champion's on the same rows, with a block-bootstrap interval.

    The seed comes from the figures themselves: the same evidence always gets the same verdict, and nobody can try
    seeds until one is kind.
    """
    if len(blocks) < 2 or any(block.rows <= 0 for block in blocks):
        raise ValueError("a comparison needs at least two blocks with rows in each")
    if not all(math.isfinite(block.candidate) and math.isfinite(block.champion) for block in blocks):
        raise ValueError("a loss that is not a finite number compares with nothing")
    draw = random.Random(hashlib.sha256(repr(tuple(blocks)).encode()).digest())
    means = sorted(_difference(draw.choices(blocks, k=len(blocks))) for _ in range(resamples))
    tail = (1 - confidence) / 2
    return Interval(_difference(blocks), means[int(tail * resamples)], means[int((1 - tail) * resamples) - 1])


def _difference(blocks: Sequence[Block]) -> float:
    return sum(b.candidate - b.champion for b in blocks) / sum(b.rows for b in blocks)
