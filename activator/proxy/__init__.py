"""Towards the clients: the listener and what happens to one request (`handler` first)."""
