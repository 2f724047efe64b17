"""The only room that speaks to a Kubernetes API: access, calls, watches, errors translated.

What an object means and what is to be done with it is not decided here.
"""
