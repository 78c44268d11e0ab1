"""How far apart two histograms are, and how far chance alone would put them.

Counts come in as two equally long lists. Every distance here agrees with scipy to rounding; scipy itself is not
needed, so that a server can judge drift without loading it.
"""

import math
from collections.abc import Sequence
from functools import cache

Counts = Sequence[float]


def shares(counts: Counts) -> list[float]:
    total = sum(counts)
    return [count / total for count in counts] if total else [0.0] * len(counts)


def psi(reference: Counts, current: Counts) -> float:
    """Population stability index. An empty cell counts as half a row: nothing is infinitely unlikely."""
    total = 0.0
    for r, c in zip(_never_empty(reference), _never_empty(current), strict=True):
        total += (c - r) * math.log(c / r)
    return total


def _never_empty(counts: Counts) -> list[float]:
    return shares([count or 0.5 for count in counts])


def jensen_shannon(reference: Counts, current: Counts) -> float:
    """The distance (a root, base 2): 0 is the same, 1 has nothing in common."""
    divergence = 0.0
    for r, c in zip(shares(reference), shares(current), strict=True):
        middle = (r + c) / 2
        divergence += sum(share * math.log2(share / middle) / 2 for share in (r, c) if share)
    return math.sqrt(max(0.0, divergence))


def total_variation(reference: Counts, current: Counts) -> float:
    return sum(abs(r - c) for r, c in zip(shares(reference), shares(current), strict=True)) / 2


def largest_move(reference: Counts, current: Counts) -> float:
    """L-infinity: the share of rows in the cell that moved most."""
    return max((abs(r - c) for r, c in zip(shares(reference), shares(current), strict=True)), default=0.0)


def chi_squared(reference: Counts, current: Counts) -> tuple[float, float]:
    """Two samples, one origin? (statistic, p). Cells too small for the theory are judged together."""
    r, c = pooled(reference, current)
    n, m = sum(r), sum(c)
    if len(r) < 2 or not n or not m:
        return 0.0, 1.0
    statistic = sum(
        (cell - side * both / (n + m)) ** 2 / (side * both / (n + m))
        for left, right in zip(r, c, strict=True)
        for both in (left + right,)
        for cell, side in ((left, n), (right, m))
    )
    return statistic, chi_squared_tail(statistic, len(r) - 1)


def pooled(reference: Counts, current: Counts, least: float = 5.0) -> tuple[list[float], list[float]]:
    """Cells in which either side expects fewer than `least` rows, merged into one; empty ones dropped."""
    n, m = sum(reference), sum(current)
    kept: list[tuple[float, float]] = []
    rest_r = rest_c = 0.0
    for r, c in zip(reference, current, strict=True):
        if (r + c) * min(n, m) >= least * (n + m):
            kept.append((r, c))
        else:
            rest_r, rest_c = rest_r + r, rest_c + c
    if (rest_r + rest_c) * min(n, m) >= least * (n + m) or (rest_r + rest_c and not kept):
        kept.append((rest_r, rest_c))
    elif rest_r + rest_c:
        smallest = min(range(len(kept)), key=lambda i: kept[i][0] + kept[i][1])
        kept[smallest] = (kept[smallest][0] + rest_r, kept[smallest][1] + rest_c)
    return [r for r, _ in kept], [c for _, c in kept]


def chi_squared_tail(statistic: float, freedom: int) -> float:
    """The chance of a larger statistic: the upper regularized incomplete gamma function."""
    return _upper_gamma(freedom / 2, statistic / 2)


@cache
def chi_squared_limit(chance: float, freedom: int) -> float:
    """The statistic exceeded with that chance."""
    low, high = 0.0, 10.0 * freedom + 2000.0
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (middle, high) if chi_squared_tail(middle, freedom) > chance else (low, middle)
    return (low + high) / 2


def _upper_gamma(a: float, x: float) -> float:
    if x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        return max(0.0, 1.0 - scale * _series(a, x))
    return scale * _fraction(a, x)


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    n = a
    while abs(term) > abs(total) * 1e-16:
        n += 1
        term *= x / n
        total += term
    return total


def _fraction(a: float, x: float) -> float:
    """Lentz's continued fraction."""
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    result = d
    for i in range(1, 10_000):
        step = -i * (i - a)
        b += 2
        d = 1 / (step * d + b or tiny)
        c = b + step / c or tiny
        result *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return result


def kolmogorov_tail(statistic: float, n: int, m: int) -> float:
    """The chance of a larger Kolmogorov-Smirnov distance between two samples of one continuous origin."""
    if not n or not m:
        return 1.0
    x = statistic * math.sqrt(n * m / (n + m))
    if x < 0.2:
        return 1.0
    total = sum((-1) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * total))


def each_of(chance: float, comparisons: int) -> float:
    """The chance one comparison may have of a false alarm so that all of them together have `chance` (Šidák)."""
    return -math.expm1(math.log1p(-chance) / max(1, comparisons))
