#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what rein is built with, where apt-get exists and something is missing. With "tests" as its
# argument also what the tests need. Elsewhere it does nothing: ./configure names what it does not find.
set -eu

packages="build-essential autoconf automake libtool autoconf-archive pkg-config
libopenblas-dev libyaml-dev libjansson-dev libpcre2-dev libutf8proc-dev zlib1g-dev
libprotobuf-c-dev protobuf-c-compiler libcurl4-openssl-dev"
[ "${1-}" = tests ] && packages="$packages check xz-utils"

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null || exit 0
missing=
for p in $packages; do
    # ${Status} is dpkg-query's, not the shell's
    # shellcheck disable=SC2016
    case $(dpkg-query -W -f '${Status}' "$p" 2>/dev/null) in
    *" installed") ;;
    *) missing="$missing $p" ;;
    esac
done
[ -n "$missing" ] || exit 0

root=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "please install as root: apt-get install$missing" >&2; exit 1; }
    root=sudo
fi
echo "installing:$missing" >&2
$root apt-get -qq update </dev/null >&2
# shellcheck disable=SC2086
$root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing </dev/null >&2
