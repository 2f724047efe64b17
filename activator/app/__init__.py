"""The composition root: the one place that knows which implementation is which.

`App` builds the house from settings, `serve` runs it until a signal ends it.
"""

from activator.app.app import App, build
from activator.app.serve import serve
from activator.errors import StartError

__all__ = ["App", "StartError", "build", "serve"]
