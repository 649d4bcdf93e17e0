"""Topic ids and their text."""

import pytest

from tailrace_core.ids import NO_TOPIC_ID, TopicPartition, topic_id_from_text, topic_id_text


def test_the_text_is_kafkas() -> None:
    # org.apache.kafka.common.Uuid: the metadata topic's id is (0, 1).
    assert topic_id_text(bytes(15) + b"\1") == "AAAAAAAAAAAAAAAAAAAAAQ"
    assert topic_id_text(NO_TOPIC_ID) == "AAAAAAAAAAAAAAAAAAAAAA"
    assert topic_id_text(b"\xff" * 16) == "_____________________w"
    assert topic_id_text(b"\xfb" * 16) == "-_v7-_v7-_v7-_v7-_v7-w"


def test_the_text_reads_back() -> None:
    for byte in range(256):
        topic_id = bytes([byte, 255 - byte]) * 8
        assert topic_id_from_text(topic_id_text(topic_id)) == topic_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAA==",
        "+" * 21 + "w",
        "/" * 21 + "w",
        "AAAAAAAAAAAAAAAAAAAA A",
        "AAAAAAAAAAAAAAAAAAAAAB",
        "é" * 22,
    ],
)
def test_what_is_not_such_a_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        topic_id_from_text(text)


def test_a_partition_of_another_incarnation_is_another_one() -> None:
    assert TopicPartition(bytes(16), 1) == TopicPartition(bytes(16), 1)
    assert TopicPartition(bytes(16), 1) != TopicPartition(b"1" * 16, 1)
