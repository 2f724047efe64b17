"""The store of bodies of held requests (protocol in `base`), and of jobs (protocol in `jobs`).

Each in two forms: `memory…` for a single process, `redis…` for several activators, with its
scripts in `lua/`. The order of those who wait for a slot is not here but in `coordination` and
`core.dispatch`; what may become of a job is decided in `core.jobs`.
"""
