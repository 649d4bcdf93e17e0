"""The WAL's disk behind one port: `uring`, `threads`, `buffered`; the simulated one is in tailrace_engine.sim.disk."""
