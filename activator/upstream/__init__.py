"""Towards the model servers: which replicas there are, the gate in front of them, connections.

Shared by `proxy` (live traffic) and `control` (which feeds it with replicas and asks it for
demand).
"""
