"""Relevance against two independent implementations: the formula of common/logsql/score.h written down again,
and the package rank_bm25. The same documents, the same order, scores within 1e-6, on one shard and on several
whose documents differ as much as can be: a score does not depend on where an event lies."""
import math
import random
import re

import pytest
from rank_bm25 import BM25Okapi

from shards import SECOND, START_NS, ShardCluster
from standalone import Standalone

K1, B = 1.2, 0.75
COMMON = ["request", "took", "ms", "user", "path", "ok"]
RARE = ["disk", "failure", "timeout", "Ошибка", "panic", "x509"]
QUERIES = [["disk"], ["disk", "failure"], ["failure", "timeout", "request"], ["Ошибка", "panic", "x509", "ok"],
           ["nowhere", "panic"]]


def make_documents(rnd, count):
    """Texts of very different lengths; the further behind, the more of the rare words."""
    out = []
    for i in range(count):
        words = [rnd.choice(COMMON) for _ in range(rnd.choice([1, 3, 8, 40]))]
        for word in RARE:
            words += [word] * rnd.choice([0, 0, 0, 1, 3] if i > count // 2 else [0] * 20 + [1])
        rnd.shuffle(words)
        out.append(rnd.choice([" ", ", ", ": "]).join(words) + f" id={i:05d}")
    return out


def tokens(text):
    return re.findall(r"\w+", text)


def formula(documents, words):
    """score.h's formula: {document: score} of those that hold one of the words."""
    docs = [tokens(d) for d in documents]
    average = sum(map(len, docs)) / len(docs)
    scores = {}
    for text, doc in zip(documents, docs):
        score = 0.0
        for word in words:
            df, tf = sum(word in d for d in docs), doc.count(word)
            idf = math.log(1 + (len(docs) - df + 0.5) / (df + 0.5))
            score += idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * len(doc) / average))
        if any(word in doc for word in words):
            scores[text] = score
    return scores


class Smoothed(BM25Okapi):
    """rank_bm25 with the inverse document frequency that cannot be negative, as score.h and Lucene have it."""

    def _calc_idf(self, nd):
        for word, df in nd.items():
            self.idf[word] = math.log(1 + (self.corpus_size - df + 0.5) / (df + 0.5))


def check(documents, ask):
    for words in QUERIES:
        want = formula(documents, words)
        got = {r["_msg"]: float(r["_score"]) for r in ask(" or ".join(words))}
        assert got.keys() == want.keys()
        for text, score in got.items():
            assert math.isclose(score, want[text], abs_tol=1e-6), (words, text)
        package = Smoothed([tokens(d) for d in documents], k1=K1, b=B).get_scores(words)
        for text, score in zip(documents, package):
            assert math.isclose(got.get(text, 0.0), score, abs_tol=1e-6), (words, text)
        in_order = list(got.values())
        assert in_order == sorted(in_order, reverse=True)
    # One rare word: the package as it is gives the same order.
    plain = BM25Okapi([tokens(d) for d in documents], k1=K1, b=B).get_scores(["panic"])
    got = [r["_msg"] for r in ask("panic")]
    ranks = dict(zip(documents, plain))
    assert len(got) > 5 and [ranks[t] for t in got] == sorted((ranks[t] for t in got), reverse=True)


def test_standalone(procs, bin_dir, tmp_path, seed):
    documents = make_documents(random.Random(seed), 600)
    server = Standalone(procs, bin_dir, tmp_path / "data").start()
    assert server.insert([{"_time": f"2026-01-02T03:04:05.{i:09d}Z", "_msg": d} for i, d in enumerate(documents)])
    server.wait_count("*", len(documents))
    check(documents, lambda words: server.query(words + " | sort by (_score desc) | fields _msg, _score"))
    server.stop()


@pytest.mark.parametrize("holdings", [["0-3"], ["0-1", "2-3"], ["0", "1", "2", "3"]])
def test_shards(procs, bin_dir, tmp_path, kafka, topic, seed, holdings):
    rnd = random.Random(seed)
    documents = make_documents(rnd, 600)
    cluster = ShardCluster(procs, bin_dir, tmp_path, kafka.bootstrap, topic, holdings)
    cluster.start()
    batches = []
    for i in range(0, len(documents), 50):  # in order, so that the rare words lie on the last partitions
        partition = i * 4 // len(documents)
        events = [(START_NS + (i + j) * SECOND // 1000, d, {}) for j, d in enumerate(documents[i:i + 50])]
        batches.append((partition, f"s{partition}", {"app": f"a{partition}"}, events))
    cluster.produce(batches)
    cluster.wait_indexed(len(documents))
    ask = lambda words: cluster.query(words + " | sort by (_score desc) | fields _msg, _score")
    check(documents, ask)
    # What the times and streams select is all there is.
    part = [d for partition, _, _, events in batches if partition >= 2 for _, d, _ in events]
    want = formula(part, ["disk", "panic"])
    got = {r["_msg"]: float(r["_score"]) for r in ask('{app=~"a2|a3"} (disk or panic)')}
    assert got.keys() == want.keys()
    assert all(math.isclose(s, want[t], abs_tol=1e-6) for t, s in got.items())
