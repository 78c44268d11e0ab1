"""Runtime: what a task finds around it. Imports nothing of the server."""
