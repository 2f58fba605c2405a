#!/bin/sh
# Debian's PostgreSQL with pg_cron, for tests/scheduler. Installs packages only; makes and starts no cluster. Never fails:
# without it those tests are skipped, with their reason.
set -u
for library in /usr/lib/postgresql/*/lib/pg_cron.so; do
  [ -e "$library" ] && exit 0
done
say() { echo "tests/scheduler will be skipped: $1" >&2; exit 0; }
command -v apt-get >/dev/null || say "this is no Debian; install PostgreSQL with pg_cron by hand"
if [ "$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else
  say "neither root nor sudo; ask for: apt-get install postgresql-common postgresql-cron"
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq >/dev/null || say "apt-get update failed"
major=$(apt-cache depends postgresql | sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1)
[ -n "$major" ] || say "apt knows no package postgresql"
# So that the package makes no cluster of its own.
$sudo mkdir -p /etc/postgresql-common
grep -qs '^create_main_cluster' /etc/postgresql-common/createcluster.conf ||
  echo 'create_main_cluster = false' | $sudo tee -a /etc/postgresql-common/createcluster.conf >/dev/null
$sudo apt-get install -qq -y --no-install-recommends "postgresql-$major" "postgresql-$major-cron" >/dev/null ||
  say "apt-get install postgresql-$major postgresql-$major-cron failed"
