#!/usr/bin/env bash
# Proves that a bare Debian 12 with git, Node.js and npm is enough: makes one in a directory, clones the committed state of this checkout into it, and runs the set-up and
# the tests there with CI=true. As root; takes what it needs from the mirror and the npm registry that this machine uses. Arguments go to bin/test.
#   test/fresh-machine/prove.sh                            all tests
#   test/fresh-machine/prove.sh test/e2e/libvirt-backup    those alone
set -euo pipefail
project="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)"

say() { printf 'fresh machine: %s\n' "$*" >&2; }
stop() {
  say "$*"
  exit 1
}

[[ $EUID -eq 0 ]] || stop "this needs root, which alone may make a system in a directory"
if ! command -v debootstrap >/dev/null; then
  say "installing the Debian package debootstrap"
  apt-get update -qq >&2 || say "apt-get update failed; trying with the package lists there are"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >&2
fi
node="$(command -v node)" || stop "Node.js is not on PATH"
npm="$(dirname "$(readlink -f "$(command -v npm)")")/.." || stop "npm is not on PATH"

# Not below /tmp, which may be small and in memory.
root="$(mktemp -d /var/tmp/sendense-fresh-machine.XXXXXX)"
trap 'rm -rf --one-file-system "$root"' EXIT
# It becomes "/", where every account passes.
chmod 0755 "$root"

mirror="$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Codename: bookworm' | head -n 1)"
[[ -n "$mirror" ]] || stop "apt knows no mirror of Debian 12 (bookworm); run apt-get update first"
say "installing a bare Debian 12 in $root"
debootstrap --variant=minbase --include=git,ca-certificates bookworm "$root" "$mirror" >"$root.log" 2>&1 || {
  tail -n 20 "$root.log" >&2
  stop "debootstrap failed"
}
rm "$root.log"

# The way out is this machine's: names, proxies, certificates, registry.
cp /etc/resolv.conf /etc/hosts "$root/etc/"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
apt-config dump Acquire >"$root/etc/apt/apt.conf.d/10-way-out"
printf 'registry=%s\ncafile=/etc/ssl/certs/ca-certificates.crt\n' "$(npm config get registry)" >"$root/root/.npmrc"
# No package starts a service: nothing has booted here.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 0755 "$root/usr/sbin/policy-rc.d"
install -m 0755 "$(readlink -f "$node")" "$root/usr/local/bin/node"
mkdir -p "$root/usr/local/lib/node_modules"
cp -a "$npm" "$root/usr/local/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/usr/local/bin/npm"
ln -s ../lib/node_modules/npm/bin/npx-cli.js "$root/usr/local/bin/npx"
git clone --quiet --no-hardlinks "$project" "$root/srv/sendense"

say "running CI=true bin/test there, in a root and in namespaces of its own"
status=0
env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CI=true \
  unshare --mount --pid --uts --ipc --cgroup --fork --kill-child -- bash -euc '
    mount --make-rprivate /
    root="$1"; shift
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=0755 tmpfs "$root/run"
    cd "$root"
    mkdir -p old
    pivot_root . old
    umount -l /old
    rmdir /old
    cd /srv/sendense
    exec bin/test "$@"
  ' in-root "$root" "$@" || status=$?
say "it $( ((status == 0)) && echo passed || echo "failed (exit code $status)")"
exit "$status"
