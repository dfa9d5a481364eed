#!/usr/bin/env bash
# Makes the Debian package of the broker that SLUICE names, has lintian look at it, and installs it on a machine of its
# own: a container on top of this one's files, with a systemd and a network of its own. There inside.sh tries the unit,
# Fail2Ban and the removal; nothing of this machine is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
. check/broker.sh

# Not built again: the package is of the broker that the tests have tested.
install -D "$SLUICE" "$WORK/target/dist/sluice"
CARGO_TARGET_DIR=$WORK/target cargo deb --quiet -p sluice --no-build --fast --strip --output "$WORK/sluice.deb"
# For a package outside the archive, which has its own changelog and keeps hashes of passwords in its configuration.
lintian --allow-root --fail-on error --suppress-tags debian-changelog-file-missing-or-wrong-name,non-standard-file-perm \
    "$WORK/sluice.deb"

mount -t tmpfs tmpfs "$WORK"/layers --mkdir -o mode=755
at_exit "umount $WORK/layers"
machine=$WORK/layers/machine
mkdir "$WORK"/layers/{upper,lower,machine}
mount -t overlay overlay -o "lowerdir=/,upperdir=$WORK/layers/upper,workdir=$WORK/layers/lower" "$machine"
at_exit "umount $machine"

# Services start as on a machine in service, whatever this one allows.
rm -rf "$machine"/usr/sbin/policy-rc.d "$machine"/etc/sluice "$machine"/etc/fail2ban/jail.d/*
cp "$WORK/sluice.deb" check/inside.sh check/peers.py "$machine/root"
cat >"$machine/etc/systemd/system/check.service" <<'END'
[Unit]
Description=Tries the package
Requires=basic.target
After=basic.target
SuccessAction=exit-force
FailureAction=exit-force
FailureActionExitStatus=1

[Service]
Type=oneshot
ExecStart=/root/inside.sh
StandardOutput=file:/root/said
StandardError=inherit
TimeoutStartSec=300
END
said=0
timeout 900 systemd-nspawn --quiet --directory "$machine" --boot --register=no --keep-unit --private-network \
    --system-call-filter="landlock_create_ruleset landlock_add_rule landlock_restrict_self" \
    --machine "sluice-check-$$" systemd.unit=check.service systemd.show_status=no >"$WORK/console" 2>&1 || said=$?
if [ "$said" -ne 0 ] || ! grep -q '^package: ' "$machine/root/said"; then
    tail -n 40 "$WORK/console" "$machine/root/said" >&2
    exit 1
fi
cat "$machine/root/said"
