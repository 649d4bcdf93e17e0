"""How messages in Kafka's serialization are declared, and the codecs that come from a declaration.

For the protocol's messages (gateway, kafka/schema/messages/), and for the records that coordinators keep in internal
topics. The README beside the protocol's messages says how it works.
"""
