"""What activators tell each other: slots, demand, who leads. Protocols in `base`.

`memory` is the form for a single process. Requests and bodies live in `queueing`, not here.
"""
