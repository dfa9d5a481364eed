#!/usr/bin/env bash
# Has hadolint look at the Dockerfile, and makes sure that what it copies is there and that the configuration of the image
# is understood. The image itself is not built: that takes a container engine and its registry.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${SLUICE:?the path of the broker}"

hadolint deploy/docker/Dockerfile
while read -r kept; do
    [ -e "$kept" ] || {
        echo "Dockerfile.dockerignore keeps $kept, which is not there" >&2
        exit 1
    }
done < <(sed -n 's/^!//p' deploy/docker/Dockerfile.dockerignore)
# Whatever the workspace consists of must get into the build.
while read -r member; do
    grep -qx "!${member%%/*}" deploy/docker/Dockerfile.dockerignore || {
        echo "Dockerfile.dockerignore leaves out $member" >&2
        exit 1
    }
done < <(sed -n '/^members/,/^]/s/^ *"\([^"]*\)",$/\1/p' Cargo.toml)
"$SLUICE" check --config deploy/docker/sluice.toml
