"""The log of slow queries: what was asked, by whom, and what it cost."""
import re

from standalone import Standalone
from waiting import poll_until


def test_slow_queries_are_logged(procs, bin_dir, tmp_path):
    s = Standalone(procs, bin_dir, tmp_path / "data", options=["query.slow=1ms"]).start()
    rows = [{"_msg": f"user {n} from host {n % 97}"} for n in range(20000)]
    acme = {"X-Scope-OrgID": "acme"}
    assert s.insert(rows, headers=acme)
    poll_until(lambda: s.query("* | count() n", acme)[0]["n"] == str(len(rows)), 20, "all rows to be found")
    # a line feed, which is no line of the log, and more text than the log shows
    text = 'user\n| filter _msg:!"line\\nfeed' + "x" * 2000 + '" | sort by (_msg) | limit 3'
    assert len(s.query(text, acme)) == 3
    line = s.process.wait_line(r".*slow query.*xxx.*").group(0)
    values = dict(re.findall(r"(\w+)=(\"(?:[^\"\\]|\\.)*\"|\S+)", line))
    assert values["tenant"] == "acme" and int(values["ms"]) >= 1 and values["finished"] == "true", line
    assert int(values["rows_matched"]) == len(rows) and "bytes_read" in values and values["missing"] == "0", line
    assert values["query"].startswith('"user') and "xxx" in values["query"] and len(line) < 1200, line
    s.stop()


def test_none_is_logged_below_the_threshold(procs, bin_dir, tmp_path):
    for option in ("query.slow=1h", "query.slow=0"):
        s = Standalone(procs, bin_dir, tmp_path / option, options=[option]).start()
        assert s.insert([{"_msg": "hello"}])
        s.wait_count("hello", 1)
        s.stop()
        assert "slow query" not in s.process.log()
