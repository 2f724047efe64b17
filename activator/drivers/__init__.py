"""How replicas start and stop: one protocol (`base`), one file for each kind of backend.

Decides nothing. Whether to start, when to stop, how often to try again: `core.lifecycle`.
"""
