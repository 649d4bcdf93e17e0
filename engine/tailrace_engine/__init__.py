"""The storage engine: partitions, the write-ahead log, caches, the tier and the owners that join them."""
