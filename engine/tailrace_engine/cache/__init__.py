"""Caches sized in bytes, pure: the log's tail, and blocks read from the tier."""
