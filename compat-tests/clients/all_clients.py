"""Every client that the tests run: the ones in this process, and the programs in other languages."""

from __future__ import annotations

import atexit

import pytest
from clients.drivers import DRIVERS, Driver
from clients.external import EXTERNAL

CLIENTS: tuple[Driver, ...] = (*DRIVERS, *EXTERNAL)

every_client = pytest.mark.parametrize("driver", CLIENTS, ids=lambda driver: driver.name)
every_program = pytest.mark.parametrize("program", EXTERNAL, ids=lambda program: program.name)


@atexit.register
def _end_programs() -> None:
    for program in EXTERNAL:
        program.close()
