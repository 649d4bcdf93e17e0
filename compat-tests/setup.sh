#!/bin/sh
# Installs what the outside tests need and the Python environment cannot bring: kcat. Quick when all is there.
set -eu
command -v kcat >/dev/null && exit 0
apt-get install -y -qq kcat >/dev/null 2>&1 || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq kcat >/dev/null
}
kcat -V | tail -n 1
