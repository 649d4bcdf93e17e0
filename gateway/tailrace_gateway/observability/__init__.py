"""What the broker tells about itself: logs, health and metrics."""
