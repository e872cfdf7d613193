#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints where to build:  build-folder.sh NAME. That is NAME at the top of the source, or, when somebody else could write
# there (a checkout of another user, a folder open to a group), a folder of one's own under TMPDIR: rein loads no
# plugins from places that others can change.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd -P)
d=$top
while :; do
    # shellcheck disable=SC2046
    set -- "$1" $(stat -c '%u %a' "$d")
    mode=$3
    # group or others may write, unless it is a folder like /tmp further up
    case $mode in
    *[2367]? | *[2367]) case $d:$mode in "$top":* | *:???) shared=1 ;; *:1???) shared= ;; *) shared=1 ;; esac ;;
    *) shared= ;;
    esac
    if [ -n "$shared" ] || { [ "$2" -ne 0 ] && [ "$2" -ne "$(id -u)" ]; }; then
        folder=${TMPDIR:-/tmp}/rein-$(id -u)-$1
        mkdir -p -m 700 "$folder"
        echo "building in $folder, since others can write to $d" >&2
        echo "$folder"
        exit 0
    fi
    [ "$d" != / ] || break
    d=$(dirname "$d")
done
echo "$top/$1"
