"""Topics, made and read with confluent-kafka: a client that is not ours."""
import time
import uuid

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic


def new_topic_name(prefix="logs"):
    return f"{prefix}.{uuid.uuid4().hex[:12]}"


def create_topic(bootstrap, name, partitions=4, replication=1, **config):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    settings = {k.replace("_", "."): str(v) for k, v in config.items()}
    topic = NewTopic(name, partitions, replication, config=settings)
    admin.create_topics([topic], operation_timeout=30)[name].result(60)
    return name


def grow_topic(bootstrap, name, partitions):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_partitions([NewPartitions(name, partitions)])[name].result(60)


def delete_topic(bootstrap, name):
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.delete_topics([name], operation_timeout=30)[name].result(60)


def trim_topic(bootstrap, name, partition, offset):
    """Deletes what is before the offset, as retention does."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.delete_records([TopicPartition(name, partition, offset)]).values():
        future.result(30)


def _watermarks(consumer, partition, timeout):
    """A partition that was just made, or whose broker was just started, has no leader for a moment."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return consumer.get_watermark_offsets(partition, timeout=timeout)
        except KafkaException as e:
            moving = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE,
                      KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION)
            if e.args[0].code() not in moving or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def topic_end(bootstrap, name, partitions=4, timeout=30.0):
    """How many messages the topic has ever had, all partitions together."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader." + uuid.uuid4().hex})
    try:
        return sum(_watermarks(consumer, TopicPartition(name, p), timeout)[1] for p in range(partitions))
    finally:
        consumer.close()


def read_topic(bootstrap, name, partitions, timeout=30.0):
    """Every message of the topic up to its ends as they are now: a list of confluent_kafka messages a
    partition, in offset order."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader." + uuid.uuid4().hex,
                         "enable.auto.commit": False, "auto.offset.reset": "error",
                         "fetch.message.max.bytes": 4 << 20})
    out = []
    try:
        for p in range(partitions):
            tp = TopicPartition(name, p)
            low, high = _watermarks(consumer, tp, timeout)
            messages = []
            if high > low:
                tp.offset = low
                consumer.assign([tp])
                while not messages or messages[-1].offset() < high - 1:
                    m = consumer.poll(timeout)
                    if m is None:
                        raise AssertionError(f"{name}/{p} stopped at {len(messages)} of {high - low} messages")
                    if m.error():
                        if m.error().code() == KafkaError._PARTITION_EOF:
                            break
                        raise AssertionError(str(m.error()))
                    messages.append(m)
                consumer.unassign()
            out.append(messages)
    finally:
        consumer.close()
    return out
