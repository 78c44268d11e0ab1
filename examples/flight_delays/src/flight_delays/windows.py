"""Windows of time: which flights teach the model and which later ones examine it.

Both are counted back from the newest whole month that has landed, so the same job that trained in spring retrains in summer with
nothing changed but the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

TRAINING_MONTHS = 3
VALIDATION_MONTHS = 1
_WINTER = timedelta(hours=5)


@dataclass(frozen=True)
class Windows:
    training_from: datetime
    validation_from: datetime
    until: datetime

    def describe(self) -> dict[str, str]:
        return {name: value.date().isoformat() for name, value in vars(self).items()}


def recorded(params: Mapping[str, str]) -> Windows:
    """The windows that a training run wrote down: more months may have landed since."""
    days = (datetime.fromisoformat(params[name]) for name in ("training_from", "validation_from", "until"))
    return Windows(*(day.replace(tzinfo=UTC) + _WINTER for day in days))


class NotEnoughMonths(Exception):
    """Fewer months have landed than training and validation need."""


def windows(first: datetime, last: datetime) -> Windows:
    """``first`` and ``last`` are the first and last scheduled departure there is."""
    until = _months_after(last, 1)
    validation = _months_after(until, -VALIDATION_MONTHS)
    training = _months_after(validation, -TRAINING_MONTHS)
    if training < _months_after(first, 0):
        raise NotEnoughMonths(
            f"Training from {training.date()} needs flights from then; the first is of {first.date()}."
        )
    return Windows(training, validation, until)


def _months_after(moment: datetime, months: int) -> datetime:
    """The start of the month so many months later, on New York's winter clock: no flight leaves between it and summer's."""
    local = moment - _WINTER
    ordinal = local.year * 12 + local.month - 1 + months
    return datetime(ordinal // 12, ordinal % 12 + 1, 1, tzinfo=UTC) + _WINTER


def training_rows(features: pa.Table, span: Windows) -> pa.Table:
    """Flights of the training window whose outcome was known when the validation window began."""
    import pyarrow.compute as pc

    known = pc.less(features["label_known_at"], span.validation_from)
    inside = pc.and_(
        pc.greater_equal(features["judged_at"], span.training_from),
        pc.less(features["judged_at"], span.validation_from),
    )
    return features.filter(pc.and_(inside, pc.fill_null(known, False)))


def validation_rows(features: pa.Table, span: Windows) -> pa.Table:
    """Flights scheduled after every flight the training saw, with their outcome."""
    import pyarrow.compute as pc

    inside = pc.and_(
        pc.greater_equal(features["judged_at"], span.validation_from), pc.less(features["judged_at"], span.until)
    )
    return features.filter(pc.and_(inside, pc.is_valid(features["late"])))
