"""What other policies would have done with the requests that came: traces replayed through `core`.

Here: reading traces, replaying them in simulated time, comparing the outcomes. The decisions are
those that the server makes, by the same code; which policies are tried is the command line's
business.
"""
