#!/usr/bin/env bash
# Has systemd-analyze read the unit, and rate it: no more than 1.2 of 10 may be left open to a broker that was taken over.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${SLUICE:?the path of the broker}" "${WORK:?a directory to work in}"

# The program must be there to be verified.
sed "s|/usr/bin/sluice|$SLUICE|g" systemd/sluice.service >"$WORK/sluice.service"
systemd-analyze verify --man=no "$WORK/sluice.service"
systemd-analyze security --offline=true --threshold=12 --no-pager systemd/sluice.service | tail -n 1

# Every command of the program is in its manual.
mandoc -Tlint -W warning debian/sluice.1
"$SLUICE" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]\{1,\}\) .*/\1/p' | while read -r command; do
    [ "$command" = help ] || grep -q "^.It Cm $command\$" debian/sluice.1 || {
        echo "debian/sluice.1 does not mention $command" >&2
        exit 1
    }
done
