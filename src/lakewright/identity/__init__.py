"""Identity: people, groups and service principals, and how they prove who they are."""

from lakewright.identity import (
    applications,
    consent,
    credentials,
    discovery,
    entitlements,
    federation,
    groups,
    me,
    oauth,
    people,
    scim_discovery,
    secrets,
    service_principals,
    tokens,
    workspaces,
)
from lakewright.identity.first_start import install

__all__ = [
    "applications", "consent", "credentials", "discovery", "entitlements", "federation", "groups", "install", "me", "oauth", "people", "scim_discovery", "secrets",
    "service_principals", "tokens", "workspaces",
]  # fmt: skip
