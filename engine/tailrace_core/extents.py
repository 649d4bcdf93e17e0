"""Extents: what the catalog knows of a partition's data in one object. Engine and controller share the word."""

from typing import NamedTuple

from tailrace_core.ids import TopicId


class Extent(NamedTuple):
    """One partition's contiguous batches in one object.

    position and length (bytes) bound the raw batches inside the object; section_length counts the batches and what
    follows them (offset and time index, leader epochs, snapshot place). crc is the CRC-32C of the raw batches.
    """

    topic_id: TopicId
    partition: int
    leader_epoch: int
    """Of the leader that committed it; the batches' own epochs stand in the section."""
    base_offset: int
    end_offset: int
    """Exclusive."""
    max_timestamp_ms: int
    """The largest of all its batches; when none has one, that of the upload, for retention, or -1."""
    position: int
    length: int
    section_length: int
    crc: int


class StoredObject(NamedTuple):
    """An object that the catalog knows, and what it holds."""

    object_id: int
    key: str
    size: int
    extents: tuple[Extent, ...]
