"""Side-by-side measurements of the activator, run by `python -m bench` (see docs/performance.md).

Lives here: what is measured and how it is told. Every figure stands beside a peer or a limit of
the same run on the same machine; none is a promise. Does not live here: tests of behaviour.
"""
