"""Engines: the outside world behind Protocols, each with a laptop default."""
