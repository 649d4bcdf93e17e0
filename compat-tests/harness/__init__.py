"""Starts real brokers and talks to them from outside: nothing here imports the product."""
