"""The metadata and its rules. Pure: no I/O, no clock, no chance."""
