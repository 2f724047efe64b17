"""Redis as the store: the only room that imports `redis` and `hiredis`. Start with `link`.

Imported only where a Redis is configured. What is stored, and in which scripts, belongs to the
rooms that use it.
"""
