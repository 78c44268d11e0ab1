"""Widgets: a notebook's parameters, the job's value before the notebook's own default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class InputWidgetNotDefined(Exception):
    """Neither the run nor the notebook gives the parameter."""


class Widgets:
    def __init__(self, given: Mapping[str, object]) -> None:
        self._given = {name: _text(value) for name, value in given.items()}
        self._defaults: dict[str, str] = {}

    def text(self, name: str, defaultValue: str, label: str | None = None) -> None:
        self._defaults[name] = str(defaultValue)

    def dropdown(self, name: str, defaultValue: str, choices: Sequence[str], label: str | None = None) -> None:
        if str(defaultValue) not in map(str, choices):
            raise ValueError(f"the default {defaultValue!r} of widget {name!r} is none of its choices")
        self.text(name, defaultValue, label)

    combobox = dropdown

    def multiselect(self, name: str, defaultValue: str, choices: Sequence[str], label: str | None = None) -> None:
        self.text(name, defaultValue, label)

    def get(self, name: str) -> str:
        for values in (self._given, self._defaults):
            if name in values:
                return values[name]
        raise InputWidgetNotDefined(f"No input widget named {name} is defined")

    def getArgument(self, name: str, defaultValue: str | None = None) -> str | None:
        try:
            return self.get(name)
        except InputWidgetNotDefined:
            return defaultValue

    def getAll(self) -> dict[str, str]:
        return {**self._defaults, **self._given}

    def remove(self, name: str) -> None:
        self._defaults.pop(name, None)

    def removeAll(self) -> None:
        self._defaults.clear()


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
