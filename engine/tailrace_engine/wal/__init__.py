"""The write-ahead log of a broker: format, ring and recovery are pure; writer owns the disk on the loop."""
