"""Owners: the synchronous state of each partition on the loop's thread, and the background jobs around it."""
