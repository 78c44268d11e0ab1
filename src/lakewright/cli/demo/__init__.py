"""The demo: a real project from raw data to a served, monitored and retrained model, under real permissions.

It is a client like any other: every step goes through the HTTP API as somebody who holds what they were granted.
"""
