"""Retention of tenants in a running server: rules from the configuration, changed with SIGHUP."""
import datetime
import os
import signal
import subprocess

from standalone import Standalone
from waiting import poll_until


def rows(days_ago, n):
    day = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=days_ago)
    return [{"_time": day.strftime("%Y-%m-%dT%H:%M:%SZ"), "_msg": f"{days_ago} days ago, number {i}"} for i in range(n)]


def count(server, tenant):
    got = server.query("* | stats count() n", headers={"X-Scope-OrgID": tenant})
    return int(got[0]["n"]) if got else 0


def test_rules_change_with_sighup(procs, bin_dir, tmp_path):
    config = tmp_path / "standalone.conf"
    config.write_text("retention = { days = 30; };\n", encoding="utf-8")
    server = Standalone(procs, bin_dir, tmp_path / "data")
    server.process.argv += ["--config", str(config)]
    server.start()
    for tenant in ("acme", "audit", "other"):
        for days_ago in (0, 10, 20, 40):
            assert server.insert(rows(days_ago, 50), headers={"X-Scope-OrgID": tenant})
    for tenant in ("acme", "audit", "other"):
        poll_until(lambda t=tenant: count(server, t) == 150, 20, f"{tenant} without what is too old")

    config.write_text('retention = { days = 30; tenants = ( { tenant = "acme"; days = 15; },\n'
                      '  { tenant = "audit"; days = 0; } ); };\n', encoding="utf-8")
    os.kill(server.process.pid, signal.SIGHUP)
    # What is in memory is not retention's yet: a restart flushes it.
    assert server.stop() == 0
    server.start()
    poll_until(lambda: count(server, "acme") == 100, 20, lambda: f"acme has {count(server, 'acme')}")
    assert count(server, "audit") == 150 and count(server, "other") == 150
    assert server.insert(rows(40, 50), headers={"X-Scope-OrgID": "audit"})
    assert server.insert(rows(40, 50), headers={"X-Scope-OrgID": "acme"})
    poll_until(lambda: count(server, "audit") == 200, 20, lambda: f"audit has {count(server, 'audit')}")
    assert count(server, "acme") == 100

    config.write_text('retention = { days = 30; tenants = ( { tenant = "acme"; days = 15; },\n'
                      '  { tenant = "other"; days = 5; } ); };\n', encoding="utf-8")
    os.kill(server.process.pid, signal.SIGHUP)
    poll_until(lambda: count(server, "other") == 50, 20, lambda: f"other has {count(server, 'other')}")
    # Wrong rules change nothing, and the server says where they are wrong.
    config.write_text('retention = { tenants = ( { tenant = "a b"; },\n  { tenant = "other"; days = -2; },\n'
                      '  { days = 3; }, { tenant = "x"; },\n { tenant = "x"; } ); };\n', encoding="utf-8")
    os.kill(server.process.pid, signal.SIGHUP)
    server.process.wait_line(r"has an entry before", 20)
    done = subprocess.run([*server.process.argv, "--check"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    for line, text in ((1, "characters other than letters"), (2, "days"), (3, "tenant"), (4, '"x" has an entry before')):
        assert any(f":{line}:" in said and text in said for said in done.stderr.splitlines()), (line, done.stderr)
    assert count(server, "other") == 50 and count(server, "audit") >= 150
    metrics = server.get("/metrics")[2].decode()
    assert 'telescope_shard_retention_segments_total{reason="tenant_age"}' in metrics
    assert 'telescope_shard_expired_events_total{tenant="acme"} 50' in metrics
    assert server.stop() == 0
