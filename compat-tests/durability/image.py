"""A disk that can be cut off: an ext4 image, loop-mounted, copied while it is in use.

What a program wrote but did not sync is in the mounted file system's page cache and not in the image file, so the copy
is what a disk holds after the power went. Commits of the journal by age are put off: they would sync what the program
did not.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SIZE_BYTES = 2 << 30
"""Sparse; room for a few WAL segments that are written in full."""


def require_loop_devices() -> None:
    """Skip the test, saying why, where no image can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("a power cut needs root, to mount an image")
    if not shutil.which("mkfs.ext4"):
        pytest.skip("a power cut needs mkfs.ext4")
    probe = subprocess.run(["losetup", "--find"], capture_output=True, text=True)
    if probe.returncode != 0 or not Path(probe.stdout.strip()).exists():
        pytest.skip(f"a power cut needs a free loop device: {probe.stderr.strip()}")


def make_image(path: Path, size_bytes: int = SIZE_BYTES) -> Path:
    with path.open("wb") as image:
        image.truncate(size_bytes)
    options = ["-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard"]
    subprocess.run(["mkfs.ext4", *options, str(path)], check=True, capture_output=True)
    return path


@contextlib.contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    """The image mounted at `folder`, which is made; unmounted at the end."""
    folder.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-o", "loop,commit=600,nodiscard", str(image), str(folder)], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"cannot mount an image here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def copy_image(image: Path, copy: Path) -> Path:
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(image), str(copy)], check=True)
    return copy
