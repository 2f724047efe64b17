"""What every test stands on."""

from __future__ import annotations

import asyncio
import os

# Before its first test pytest-asyncio asks for the current event loop; Python 3.11 then makes one
# that nobody closes, and warnings are errors. Saying that there is none keeps it from being made.
asyncio.set_event_loop(None)

# Tests start some hundred activators; each would compile all of it anew, which is half of a start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
