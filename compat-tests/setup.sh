#!/bin/sh
# Installs what the outside tests need and the Python environment cannot bring: kcat, and what librdkafka's own tests are
# built with. Quick when all is there.
set -eu
packages="kcat g++ pkg-config bc libssl-dev zlib1g-dev libzstd-dev libsasl2-dev libcurl4-openssl-dev"
missing=""
for package in $packages; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "install ok installed" || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-get install -y -qq $missing >/dev/null 2>&1 || {
    apt-get update -qq
    apt-get install -y -qq $missing >/dev/null
}
