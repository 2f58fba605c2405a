#!/bin/sh
# What tests take from Debian: PostgreSQL with pg_cron and pg_partman (tests/scheduler, tests/hosts), PgBouncer (tests/hosts), zsh and fish
# (tests/shells), nginx (tests/worker), libfaketime (tests/chaos), RabbitMQ, NATS and Redis (tests/brokers), Chromium (tests/web).
# Installs packages only; makes and starts no cluster and no pooler.
# Never fails: what is missing is skipped by the tests, with their reason.
set -u
wanted=""
for library in /usr/lib/postgresql/*/lib/pg_cron.so; do [ -e "$library" ] && break; done
for control in /usr/share/postgresql/*/extension/pg_partman.control; do [ -e "$control" ] && break; done
[ -e "$library" ] && [ -e "$control" ] || wanted="postgresql"
PATH="$PATH:/usr/sbin"
for program in pgbouncer zsh fish nginx nats-server redis-server rabbitmq-server chromium; do
  command -v "$program" >/dev/null || wanted="$wanted $program"
done
command -v chromedriver >/dev/null || wanted="$wanted chromium-driver"
for clock in /usr/lib/*/faketime/libfaketime.so.1; do [ -e "$clock" ] && break; done
[ -e "$clock" ] || wanted="$wanted libfaketime"
[ -n "$wanted" ] || exit 0
say() { echo "tests will be skipped for want of$wanted: $1" >&2; exit 0; }
command -v apt-get >/dev/null || say "this is no Debian; install them by hand"
if [ "$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else
  say "neither root nor sudo; ask for: apt-get install postgresql-common postgresql-cron postgresql-partman pgbouncer zsh fish nginx libfaketime nats-server redis-server rabbitmq-server chromium chromium-driver"
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq >/dev/null || say "apt-get update failed"
case "$wanted" in
*postgresql*)
  major=$(apt-cache depends postgresql | sed -n 's/.*Depends: postgresql-\([0-9][0-9]*\)$/\1/p' | head -n 1)
  [ -n "$major" ] || say "apt knows no package postgresql"
  # So that the package makes no cluster of its own.
  $sudo mkdir -p /etc/postgresql-common
  grep -qs '^create_main_cluster' /etc/postgresql-common/createcluster.conf ||
    echo 'create_main_cluster = false' | $sudo tee -a /etc/postgresql-common/createcluster.conf >/dev/null
  wanted=$(echo "$wanted" | sed "s/postgresql/postgresql-$major postgresql-$major-cron postgresql-$major-partman/")
  ;;
esac
# So that no package starts a service of its own; a policy that is there already is left alone.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null && $sudo chmod 755 "$policy"
  trap '$sudo rm -f "$policy"' EXIT
fi
# One after another, so that one that cannot be had hinders no other.
for package in $wanted; do
  $sudo apt-get install -qq -y --no-install-recommends "$package" >/dev/null || echo "apt-get install $package failed" >&2
done
exit 0
