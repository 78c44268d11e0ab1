"""Unity Catalog: what data there is, who may see it, and where it lies."""

from lakewright.catalog import (
    catalogs,
    credentials,
    functions,
    locations,
    metastore,
    protection,
    schemas,
    tables,
    volumes,
)

__all__ = [
    "catalogs", "credentials", "functions", "locations", "metastore", "protection", "schemas", "tables", "volumes",
]  # fmt: skip
