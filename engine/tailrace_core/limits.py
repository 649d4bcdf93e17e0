"""Bounds that nobody needs to choose, each with its reason. What a person may choose is in settings.py."""

from typing import Final

HTTP_HEADER_BYTES_MAX: Final = 16 << 10
"""A request line with its headers; scrapers send some hundred bytes, browsers with cookies some thousand."""
HTTP_BODY_BYTES_MAX: Final = 64 << 10
"""No route takes more; a body is held in memory."""
HTTP_CONNECTIONS_MAX: Final = 64
"""Scrapers and probes are few; more are refused so that they cannot take the broker's file descriptors."""
HTTP_REQUEST_SECONDS_MAX: Final = 10.0
"""From a request's first byte to its last, and for a client to take its answer: a stalled peer holds no slot."""
HTTP_IDLE_SECONDS_MAX: Final = 60.0
"""Between two requests of a kept connection: above the usual scrape interval of 15 or 30 s."""
ADMIN_PAGE_MAX: Final = 500
"""Topics or groups in one answer of the admin API: some 100 KiB of JSON; the next page begins behind the last one."""
ADMIN_REQUEST_SECONDS_MAX: Final = 60.0
"""How long an administrator waits for a disk that hangs, or a search by time through a large topic."""
ADMIN_COMMIT_OFFSETS_MAX: Final = 1_000
"""Offsets of one commit when a group's are reset: far below what one batch of the offsets topic may be."""

LOG_REPEATS_MAX: Final = 5
"""Noisy records (those that one client or one disk can cause by the thousand) of one place in the code ..."""
LOG_REPEATS_SECONDS: Final = 10.0
"""... within this time; the rest are counted and told with the next one."""

FETCH_SESSION_EVICTION_MS: Final = 120_000
"""How long a fetch session is unused before another may take its place: Kafka's (KIP-227)."""
FETCH_SESSION_PARTITIONS_MAX: Final = 250_000
"""Partitions of all fetch sessions together; one takes some 400 bytes."""

INFLATED_BATCH_BYTES_MAX: Final = 128 << 20
"""What a produced batch may inflate to where it has to be compressed anew: 128 times what a batch has at most by
default, so that only a decompression bomb is refused."""
RECOMPRESSING_THREADS: Final = 2
"""So many batches are inflated and compressed at once: what bounds their memory. The loop's core is to stay free."""

INTERNAL_TOPIC_IN_FLIGHT_BYTES_MAX: Final = 16 << 20
"""What coordinators of one internal topic may have decided and not made durable: sixteen batches of the largest size,
several times what a disk takes in the time of one write. Beyond, requests that would add to it are refused, so that
memory stays bounded while the disk is slow."""

ERROR_TEXT_CHARACTERS_MAX: Final = 4_000
"""Of what an error says, which often repeats what a client sent: Kafka's strings end at 32,767 bytes, and a character
takes up to four."""

MEMBER_NAME_CHARACTERS_MAX: Final = 8_000
"""Of a client's or an instance's name in the member id that is made of it: with a UUID behind, it still has to be a
string of Kafka, which ends at 32,767 bytes."""

PENDING_MEMBERS_MAX: Final = 10_000
"""Member ids of all groups that were given out and have not joined yet. A client joins with its id at once; one that
never does keeps its place for its session timeout, up to half an hour."""
