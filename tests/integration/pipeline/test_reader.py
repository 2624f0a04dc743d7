"""A reader that is not ours finds in the topic what was written: each line at least once and in order."""
from stack import LINE_ID, Stack
from records import decode_batch
from topics import create_topic, new_topic_name, read_topic
from waiting import poll_until


def lines_by_source(bootstrap, topic, partitions):
    """tag -> numbers in the topic's order; checks each batch on the way."""
    found, homes = {}, {}
    for partition, messages in enumerate(read_topic(bootstrap, topic, partitions)):
        for m in messages:
            batch = decode_batch(m.value())
            assert m.key().decode() == batch["source"]
            assert homes.setdefault(batch["source"], partition) == partition, "a source changed its partition"
            assert batch["tenant"] == "default"
            assert batch["resource"]["app"] == "load"
            positions = [e["position"] for e in batch["events"]]
            assert positions == sorted(set(positions)) and positions, positions[:10]
            for e in batch["events"]:
                tag, number = LINE_ID.search(e["body"].decode()).groups()
                found.setdefault(tag, []).append(int(number))
    return found


def assert_in_order(tag, numbers, count):
    """At least once and in order: a number that was not seen before is the next one."""
    top = -1
    for n in numbers:
        assert n <= top + 1, f"{tag}: {n} comes after {top}"
        top = max(top, n)
    assert top == count - 1, f"{tag}: ends with {top} of {count}"


def test_an_independent_reader_finds_every_line(kafka, procs, bin_dir, tmp_path):
    topic = create_topic(kafka.bootstrap, new_topic_name("reader"), partitions=4)
    stack = Stack(procs, bin_dir, tmp_path, kafka.bootstrap, topic, files=3)
    for s in stack.sidecars:
        s.start()
    for round_ in range(6):
        for log in stack.logs:
            log.append(700 + 100 * round_)
        if round_ == 2:
            stack.sidecars[0].kill9()
            stack.sidecars[0].start()

    def all_there():
        found = lines_by_source(kafka.bootstrap, topic, 4)
        return all(max(found.get(log.tag, [-1])) == log.count - 1 for log in stack.logs) and found

    found = poll_until(all_there, 60, "all lines in the topic", 0.5)
    for log in stack.logs:
        assert_in_order(log.tag, found[log.tag], log.count)
    assert set(found) == {log.tag for log in stack.logs}
    for s in stack.sidecars:
        s.terminate()
