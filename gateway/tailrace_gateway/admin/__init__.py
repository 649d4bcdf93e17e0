"""The admin API over HTTP, below /v1/: docs/http-api.md is its reference. Translation alone, rules live in the parts.

One file a noun, and routes.py with the table of them. None of it is imported before it is first asked for: a start
does not wait for the models of bodies. See lazy.py.
"""
