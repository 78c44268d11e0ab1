"""Commands over operations: everything a command does, the HTTP API does, and judges."""
