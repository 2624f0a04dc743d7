"""What every integration test starts from. The environment comes from tel_pytest (cmake/Targets.cmake):

TEL_BUILD_DIR   the build under test: its bin/, lib/, bench/
TEL_KAFKA_DIR   the folder of the cluster that ctest's fixture `kafka` started (tests that ask for it)
TEL_SEED        the seed of random tests; drawn and printed when it is not given
"""
import os
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))

from kafka_cluster import Cluster  # noqa: E402
from proc import Processes  # noqa: E402
from topics import create_topic, new_topic_name  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    setattr(item, "report_" + report.when, report)


@pytest.fixture(scope="session")
def build_dir():
    return Path(os.environ.get("TEL_BUILD_DIR", ROOT / "build/release")).resolve()


@pytest.fixture(scope="session")
def bin_dir(build_dir):
    return build_dir / "bin"


@pytest.fixture
def seed(record_property):
    value = int(os.environ.get("TEL_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"TEL_SEED={value}")
    record_property("seed", value)
    return value


@pytest.fixture
def procs(request, tmp_path):
    """Processes that are ended with the test; their logs are shown when it fails."""
    p = Processes(tmp_path / "logs")
    yield p
    report = getattr(request.node, "report_call", None)
    if report is None or report.failed:
        p.show()
    p.end()


@pytest.fixture(scope="session")
def kafka():
    """The shared cluster: make topics of your own in it, and never stop it."""
    folder = os.environ.get("TEL_KAFKA_DIR")
    if not folder:
        pytest.fail("TEL_KAFKA_DIR is not set: run through ctest, or start tests/tools/kafka/kafka-cluster")
    return Cluster.load(folder)


@pytest.fixture
def own_kafka(request, tmp_path):
    """A cluster of the test's own, to be killed at will. Options: @pytest.mark.kafka(brokers=3)."""
    mark = request.node.get_closest_marker("kafka")
    cluster = Cluster(tmp_path / "kafka", **(mark.kwargs if mark else {}))
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture
def topic(kafka):
    """A new topic of four partitions."""
    return create_topic(kafka.bootstrap, new_topic_name())


def pytest_configure(config):
    config.addinivalue_line("markers", "kafka(**options): options of the own_kafka cluster")
