"""Projects: one definition (``databricks.yml``) of jobs, data and models, taken to as many targets as it names.

Everything here is a client of the HTTP API: a deployment can do what its person may do, and no more.
"""
