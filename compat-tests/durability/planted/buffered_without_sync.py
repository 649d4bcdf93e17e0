"""Tailrace with a fault: the buffered backend writes and forgets fdatasync.

Takes the arguments of `tailrace`. kill -9 cannot find it; the power cut must.
"""

from __future__ import annotations

from tailrace_engine.disk.buffered import BufferedDisk
from tailrace_engine.disk.threads import ThreadDisk
from tailrace_gateway.main import main

BufferedDisk._commit = ThreadDisk._commit  # type: ignore[method-assign]

raise SystemExit(main())
