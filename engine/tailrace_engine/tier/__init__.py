"""The tier: objects that hold the uploaded batches of many partitions. Layout and writer are pure."""
