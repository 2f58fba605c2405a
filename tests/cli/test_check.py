"""qctl check: one line that says its limits."""

from processes import failing, ok, qctl


def test_check_is_one_line_that_says_its_limits(busy, dsn):
    line = ok("check", dsn=dsn).stdout
    assert (
        line == "OK 1 queue: armed, workers live, none paused, triggers in place; lag ≤ 1m, age ≤ 15m, failures ≤ 20%\n"
    )
    done = qctl("check", "--max-depth", "1", "--max-dead", "0", dsn=dsn)
    assert done.returncode == 8
    assert (
        done.stdout == "FAILED orders depth: 3 (limit 1) unfinished messages; orders dead: 1 (limit 0) dead letters\n"
    )
    assert done.stderr == ""
    assert "no such cause: tired" in failing(2, "check", "--ignore", "tired", dsn=dsn)
    assert "not a share" in failing(2, "check", "--max-failure-rate", "120%", dsn=dsn)
    assert "queue 'nope' not found" in failing(6, "check", "-q", "nope", dsn=dsn)
    assert "lag" not in ok("check", "--max-lag", "none", dsn=dsn).stdout


def test_check_and_doctor_before_an_install(empty_dsn):
    assert "not installed" in failing(5, "doctor", dsn=empty_dsn)
    assert "not installed" in failing(5, "check", dsn=empty_dsn)
