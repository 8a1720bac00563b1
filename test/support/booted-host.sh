#!/bin/bash
# A machine for tests that systemd really runs: its root is an overlay over this machine's root, its process, mount, network, host name and cgroup namespaces are
# its own, and everything it writes is in memory. As root.
#   booted-host.sh boot NAME SHARE     runs it in the foreground; ends with it, or, where there is a file SHARE.boots-again, removes that and boots it again with all
#                                      that it has written. The directory SHARE is at /mnt/share in it
#   booted-host.sh probe NAME SHARE    as far as the kernel is concerned, and ends then
#   booted-host.sh clean NAME          removes its cgroups once it has ended
set -euo pipefail
command="$1"
name="$2"

# Any mount of it shows the whole tree, so it does not matter where this machine has its own, or whether it has one.
with_cgroups() {
  cgroups=/mnt
  mount --make-rprivate /
  mount -t cgroup2 cgroup2 "$cgroups"
}

case "$command" in
  boot | probe)
    exec env BOOTED_HOST_COMMAND="$command" unshare --mount -- "$0" in-mounts "$name" "$3"
    ;;
  in-mounts)
    with_cgroups
    mkdir -p "$cgroups/$name"
    echo $$ >"$cgroups/$name/cgroup.procs"
    umount "$cgroups"
    # Seen by nobody else: mounts are private. They outlive what is booted on them.
    memory=/mnt
    mount -t tmpfs tmpfs "$memory"
    mkdir "$memory/upper" "$memory/work" "$memory/root"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$memory/upper,workdir=$memory/work" "$memory/root"
    root="$memory/root"
    # Only what a bare machine has: no service of this machine starts in it, and nothing of Sendense is there.
    rm -rf "$root"/etc/systemd/system/*.wants "$root"/etc/systemd/system/*.requires "$root"/etc/systemd/system/sendense* "$root/etc/machine-id"
    rm -rf "$root/opt/sendense" "$root/etc/sendense" "$root"/var/lib/sendense* "$root/var/cache/sendense" "$root/root/.ssh"
    mkdir -p "$root/etc/systemd/system" "$root/mnt/share" "$root/mnt/old"
    for unit in systemd-udevd.service systemd-udev-trigger.service systemd-logind.service getty.target console-getty.service systemd-networkd.service \
      systemd-resolved.service systemd-timesyncd.service systemd-modules-load.service systemd-remount-fs.service systemd-sysctl.service dev-hugepages.mount \
      dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount; do
      ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
    ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
    : >"$root/etc/fstab"
    systemd-id128 new >"$root/etc/machine-id"
    printf '%s\n' "$name" >"$root/etc/hostname"
    while :; do
      status=0
      setpriv --pdeathsig KILL unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child -- "$0" in-namespaces "$name" "$3" 2>"$memory/said" || status=$?
      if [[ ! -e "$3.boots-again" ]]; then
        ((status == 0)) || cat "$memory/said" >&2
        exit "$status"
      fi
      rm "$3.boots-again"
      unshare --mount -- "$0" empty-cgroups "$name"
    done
    ;;
  empty-cgroups)
    with_cgroups
    find "$cgroups/$name" -mindepth 1 -depth -type d -exec rmdir {} + || true
    umount "$cgroups"
    ;;
  in-namespaces)
    share="$3"
    mount --make-rprivate /
    root=/mnt/root
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
    for device in null zero full random urandom tty fuse; do
      [[ -e "/dev/$device" ]] || continue
      touch "$root/dev/$device"
      mount --bind "/dev/$device" "$root/dev/$device"
    done
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s /proc/self/fd/0 "$root/dev/stdin"
    ln -s /proc/self/fd/1 "$root/dev/stdout"
    ln -s /proc/self/fd/2 "$root/dev/stderr"
    mount -t tmpfs tmpfs "$root/dev/shm"
    mount -t tmpfs -o mode=0755 tmpfs "$root/run"
    mount --bind "$share" "$root/mnt/share"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    hostname "$name"
    ip link set lo up
    cd "$root"
    pivot_root . mnt/old
    umount -l /mnt/old
    [[ "$BOOTED_HOST_COMMAND" == boot ]] || exit 0
    # As systemd does on a machine, but not in a container: what is mounted here appears in the mount namespaces of services.
    mount --make-rshared /
    exec env -i container=sendense-test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot . /lib/systemd/systemd --log-target=null --show-status=0
    ;;
  clean)
    exec unshare --mount -- "$0" remove-cgroups "$name"
    ;;
  remove-cgroups)
    with_cgroups
    for ((tries = 0; tries < 100; tries++)); do
      [[ -d "$cgroups/$name" ]] || break
      find "$cgroups/$name" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
    umount "$cgroups"
    ;;
esac
