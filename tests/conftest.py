"""What every test stands on."""

from __future__ import annotations

import asyncio

# Before its first test pytest-asyncio asks for the current event loop; Python 3.11 then makes one
# that nobody closes, and warnings are errors. Saying that there is none keeps it from being made.
asyncio.set_event_loop(None)
