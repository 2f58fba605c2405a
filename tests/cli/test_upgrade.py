"""qctl upgrade: a schema that is older or newer than the command."""

from processes import failing, ok, qctl


def test_upgrade_does_not_install(empty_dsn):
    assert "qctl install" in failing(5, "upgrade", dsn=empty_dsn)


def test_a_schema_older_than_the_command(busy, dsn):
    busy.execute("update qctl.routine set checksum = 'x' where name = 'text'")
    assert "schema_outdated: 1 schema file of this qctl is not applied" in qctl("check", dsn=dsn).stdout
    assert "qctl upgrade" in qctl("doctor", dsn=dsn).stdout
    ok("upgrade", dsn=dsn)
    ok("check", dsn=dsn)


def test_a_database_ahead_of_the_command_is_no_trouble_of_the_database(busy, dsn):
    busy.execute("update qctl.routine set qctl_version = '9.9.9', checksum = 'x' where name = 'text'")
    ok("check", dsn=dsn)
    assert "made by 9.9.9" in failing(5, "upgrade", dsn=dsn)
    assert "made by 9.9.9" in failing(5, "verify", dsn=dsn)
