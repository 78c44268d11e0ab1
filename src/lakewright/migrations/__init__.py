"""Alembic migrations: one branch per capability, all growing from the kernel's first."""
