"""The store of held requests (and, with a durable store, of jobs): protocol in `base`.

`memory` is the form for a single process. The order of the line is not here but in
`coordination` (slots and places) and `core.dispatch`.
"""
