"""Coordinators: pure state machines that keep their state in internal topics. decision.py opens with the theory."""
