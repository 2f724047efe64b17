"""The activator: scale model servers to zero and back without losing a request.

Start reading at `core/` (every decision), then `proxy/handler.py` (one request on one page).
`docs/architecture.md` is the map of the house.
"""

__version__ = "0.1.0"
