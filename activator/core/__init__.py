"""The brain: every decision, as pure machines that are told the time and return effects.

Lives here: routing, the line and its slots, the life of an endpoint, autoscaling, readiness,
expectations of how long a start takes. Lives elsewhere: clocks, sockets, tasks, logs, chance.
"""
