import random

import pytest

from lakewright.models.statistics import Block, paired_difference, wilson


def test_wilson_agrees_with_the_published_figures():
    # Newcombe 1998, table I, 95 %: 81/263 → 0.2553..0.3662; 15/148 → 0.0624..0.1605; 0/20 → 0..0.1611; 1/29 → 0.0061..0.1718
    for successes, rows, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        interval = wilson(successes, rows)
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "rows"), [(1, 0), (-1, 5), (6, 5)])
def test_a_share_that_cannot_be_is_refused(successes, rows):
    with pytest.raises(ValueError, match="not a share"):
        wilson(successes, rows)


def blocks_with(difference: float, count: int = 60, noise: float = 0.02) -> list[Block]:
    draw = random.Random(7)
    return [Block(100, 100 * (0.4 + difference + draw.gauss(0, noise)), 100 * 0.4) for _ in range(count)]


def test_a_clearly_better_candidate_has_its_whole_interval_below_zero():
    interval = paired_difference(blocks_with(-0.05))
    assert interval.high < 0
    assert interval.low < interval.estimate < interval.high


def test_two_alike_models_cannot_be_told_apart():
    interval = paired_difference(blocks_with(0.0))
    assert interval.low < 0 < interval.high


def test_the_same_evidence_always_gets_the_same_interval():
    assert paired_difference(blocks_with(-0.01)) == paired_difference(blocks_with(-0.01))


def test_about_one_interval_in_twenty_misses_the_truth():
    misses = 0
    for world in range(200):
        draw = random.Random(world)
        blocks = [Block(50, 50 * draw.gauss(0.3, 0.1), 50 * 0.3) for _ in range(40)]
        interval = paired_difference(blocks, resamples=300)
        misses += not interval.low <= 0 <= interval.high
    assert 3 <= misses <= 25


def test_one_block_is_no_comparison():
    with pytest.raises(ValueError, match="two blocks"):
        paired_difference([Block(10, 1.0, 2.0)])


@pytest.mark.parametrize("loss", [float("-inf"), float("nan")])
def test_a_loss_that_is_no_number_wins_nothing(loss):
    with pytest.raises(ValueError, match="not a finite number"):
        paired_difference([Block(10, loss, 2.0), Block(10, 1.0, 2.0)])
