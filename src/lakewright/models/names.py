"""Names of models: catalog.schema.model, always all three, always in lower case."""

import re
from typing import Annotated

from pydantic import AfterValidator

from lakewright.catalog import names
from lakewright.kernel.faults import Invalid


class FullName(str):
    """`main.ml.flights`, with its parts for an operation's address: `SCHEMA.at("{name.schema}")`."""

    @property
    def schema(self) -> str:
        return self.rpartition(".")[0]

    @property
    def model(self) -> str:
        return self.rpartition(".")[2]


def checked(full_name: str) -> FullName:
    parts = full_name.split(".")
    if len(parts) != 3 or not all(parts):
        # MLflow's client looks for these words to tell people about the registry without Unity Catalog.
        raise Invalid(f"'{full_name}' is not the name of a model: specify all three levels, catalog.schema.model")
    return FullName(".".join(names.checked(part, "model name") for part in parts))


def in_schema(catalog: str, schema: str, model: str) -> FullName:
    return checked(f"{catalog}.{schema}.{model}")


ModelName = Annotated[str, AfterValidator(checked)]


def checked_alias(alias: str) -> str:
    """An alias as it is kept: lower case, so that Champion is not another door to champion."""
    if not re.fullmatch(r"[A-Za-z0-9_\-]{1,255}", alias):
        raise Invalid(f"alias '{alias}' may only have letters, digits, _ and -")
    folded = alias.lower()
    if folded == "latest" or re.fullmatch(r"v\d+", folded):
        raise Invalid(f"alias '{alias}' is reserved")
    return folded


Alias = Annotated[str, AfterValidator(checked_alias)]


def checked_tags(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > 50:
        raise Invalid("at most 50 tags are kept")
    for key, value in tags.items():
        if not key or len(key) > 255 or len(value) > 5000 or not key.isprintable():
            raise Invalid("a tag has a key of 1 to 255 printable characters and a value of at most 5000")
    return tags
