"""Clients of OpenAI's API as people install them, each from zero: `make test-clients`.

Not part of the other tests: they install what they try, from PyPI and npm, into `.clients/`.
"""
