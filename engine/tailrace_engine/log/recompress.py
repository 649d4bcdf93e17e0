"""One batch compressed as its topic wants it: other bytes, the same records. Pure.

The header keeps all it says but the codec, the length and the CRC. Records are not walked: they are checked in header
mode, as everywhere.
"""

import struct
from typing import Final

from crc32c import crc32c

from tailrace_core.batch import (
    CODEC_MASK,
    CRC_POSITION,
    CRC_START,
    HEADER,
    HEADER_BYTES,
    LOG_OVERHEAD_BYTES,
    RECORD_BYTES_MIN,
    Buffer,
    read_header,
)
from tailrace_core.errors import InvalidRecord, MessageTooLarge
from tailrace_core.membership import TopicConfigs
from tailrace_engine.log import codecs

PRODUCER: Final = "producer"
"""compression.type: batches are kept as they come."""
CODECS: Final = {
    "uncompressed": codecs.NONE,
    "gzip": codecs.GZIP,
    "snappy": codecs.SNAPPY,
    "lz4": codecs.LZ4,
    "zstd": codecs.ZSTD,
}


def level_of(configs: TopicConfigs) -> int:
    """The topic's level of its codec; 0 for one without levels."""
    match configs.compression_type:
        case "gzip":
            return configs.compression_gzip_level
        case "lz4":
            return configs.compression_lz4_level
        case "zstd":
            return configs.compression_zstd_level
    return 0


def recompress(batch: Buffer, codec: int, level: int, inflated_bytes_max: int) -> bytearray:
    """The batch with its records compressed by codec.

    Raises InvalidRecord where they cannot be inflated, or are fewer bytes than their count takes, and MessageTooLarge
    where they are more than inflated_bytes_max.
    """
    header = read_header(batch)
    try:
        records = codecs.inflate(header.codec, memoryview(batch)[HEADER_BYTES:], inflated_bytes_max)
    except codecs.Uninflatable as error:
        raise (MessageTooLarge if error.is_too_large else InvalidRecord)(str(error)) from error
    if header.record_count * RECORD_BYTES_MIN > len(records):
        raise InvalidRecord(f"{header.record_count} records do not fit into {len(records)} bytes")
    body = codecs.deflate(codec, records, level)
    attributes = header.attributes & ~CODEC_MASK | codec
    length = HEADER_BYTES - LOG_OVERHEAD_BYTES + len(body)
    made = bytearray(HEADER.pack(*header._replace(batch_length=length, attributes=attributes)))
    made += body
    struct.pack_into(">I", made, CRC_POSITION, crc32c(memoryview(made)[CRC_START:]))
    return made
