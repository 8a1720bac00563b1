#!/usr/bin/env bash
# Installs, upgrades and removes a Sendense hub or node on this machine, from the release that contains this file. Run as root.
#
#   install.sh hub [--advertise HOST] [--with-file-restore] [--with-shares]
#                                       installs and starts a hub; HOST is the address by which nodes reach this machine. With file restore it may also mount restore
#                                       points, to restore single files; with shares a helper mounts NFS and CIFS for it. Both stay in effect once given
#   install.sh node                     installs a node; it starts after `sendense node enrol`
#   install.sh rollback hub|node        returns to the release before the last upgrade, and restarts
#   install.sh allow hub|node PATH      lets the service write to a directory, or use a block device, beyond its own
#   install.sh remove hub|node [--data] stops and removes it; a hub's data (events, tokens, repositories) only with --data
#   install.sh step NAME hub|node       a single step, as `sendense node deploy` runs remotely: check packages accounts release config units switch start
#
# Each step does only what is missing, so every command can be repeated. It reports changes on standard error, and facts for programs on standard output.
set -euo pipefail

readonly base=/opt/sendense
readonly etc=/etc/sendense
readonly hub_data=/var/lib/sendense
readonly tunnel_data=/var/lib/sendense-tunnel
readonly node_data=/var/lib/sendense-node
readonly hub_cache=/var/cache/sendense
readonly keeper_data=/var/lib/sendense-keeper
readonly mounts_data=/var/lib/sendense-mounts
readonly mounts_settings=$etc/mounts/mounts.yaml
readonly file_restore=/etc/systemd/system/sendense-hub.service.d/file-restore.conf
readonly node_images=/var/lib/sendense-images
readonly node_scratch=/var/lib/sendense-scratch
# Sockets through which guests that run on exports of the hub reach their disks.
readonly node_guests=/var/lib/sendense-node/guest-disks
readonly least_free_kb=$((2 * 1024 * 1024))

# Required tools, and the Debian packages that contain them.
readonly common_tools=(qemu-img:qemu-utils qemu-nbd:qemu-utils nbdkit:nbdkit nbdcopy:libnbd-bin nbdinfo:libnbd-bin ssh:openssh-client ssh-keygen:openssh-client)
readonly hub_tools=(
  "${common_tools[@]}" sshd:openssh-server qemu-storage-daemon:qemu-system-common losetup:mount lsattr:e2fsprogs blkid:util-linux sfdisk:fdisk logrotate:logrotate curl:curl
)
readonly file_restore_tools=(guestfish:libguestfs-tools fusermount3:fuse3)
readonly share_tools=(mount.nfs:nfs-common mount.cifs:cifs-utils)
readonly node_tools=("${common_tools[@]}" qemu-storage-daemon:qemu-system-common)

say() { printf 'install: %s\n' "$*" >&2; }
# What a removal leaves behind. `sendense node remove` repeats these lines.
remains() { say "remains: $*"; }
stop() {
  say "$*"
  exit 1
}
usage() {
  sed -n '4,11s/^# \{0,3\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

# Read from standard input the script has no file, but then only `check` is used.
script="${BASH_SOURCE[0]:-}"
root=''
if [[ -n "$script" && -f "$script" ]]; then root="$(cd "$(dirname "$(readlink -f "$script")")/../.." && pwd)"; fi

units_of() {
  case "$1" in
    hub) echo sendense-tunnel-server.service sendense-mounts.service sendense-hub.service sendense-keeper.service ;;
    node) echo sendense-tunnel.service sendense-node.service ;;
  esac
}
account_of() { if [[ "$1" == hub ]]; then echo sendense; else echo sendense-node; fi; }
other_of() { if [[ "$1" == hub ]]; then echo node; else echo hub; fi; }
is_installed() { [[ -e "/etc/systemd/system/sendense-$1.service" ]]; }
# Whether a release is complete; a node-only release has no hub. Earlier releases had it at another path.
has_hub() { [[ -e "$1/dist/src/hub/main.hub.js" || -e "$1/dist/src/main.hub.js" ]]; }

missing_packages() {
  local tool tools=()
  if [[ "$1" == hub ]]; then tools=("${hub_tools[@]}"); else tools=("${node_tools[@]}"); fi
  if [[ "$1" == hub && -e "$file_restore" ]]; then tools+=("${file_restore_tools[@]}"); fi
  if [[ "$1" == hub && -e "$mounts_settings" ]]; then tools+=("${share_tools[@]}"); fi
  for tool in "${tools[@]}"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "${tool%%:*}" >/dev/null || printf '%s\n' "${tool##*:}"
  done | sort -u
  # libguestfs boots a kernel installed on this machine.
  if [[ "$1" == hub && -e "$file_restore" ]] && ! compgen -G '/boot/vmlinuz-*' >/dev/null; then echo linux-image-cloud-amd64; fi
}

# Prints name=value lines about this machine, then problem=... for each reason not to install anything here.
check() {
  local role="$1" free os='' id_like='' where
  # shellcheck disable=SC1091
  if [[ -r /etc/os-release ]]; then
    os="$(. /etc/os-release && printf '%s %s' "${ID:-unknown}" "${VERSION_ID:-}")"
    id_like="$(. /etc/os-release && printf '%s %s' "${ID:-}" "${ID_LIKE:-}")"
  fi
  where=/opt
  [[ -d "$where" ]] || where=/
  free="$(df -Pk "$where" | awk 'NR == 2 { print $4 }')"
  printf 'os=%s\nmachine=%s\nfree_kb=%s\nepoch=%s\n' "$os" "$(uname -m)" "$free" "$(date +%s)"
  printf 'release=%s\n' "$(if is_installed "$role"; then cat "$base/current/RELEASE" 2>/dev/null || true; fi)"
  printf 'releases=%s\n' "$(for where in "$base"/*/RELEASE; do [[ ! -e "$where" ]] || cat "$where"; done | sort -u | tr '\n' ' ')"
  # A node's data directory is accessible to its account only, so a user other than root gets no value here.
  printf 'node_id=%s\n' "$(if [[ -e "$node_data/tunnel/tunnel.json" ]]; then cat "$node_data/node.id" 2>/dev/null || true; fi)"
  printf 'packages=%s\n' "$(missing_packages "$role" | tr '\n' ' ')"
  if [[ -n "$root" && -f "$root/RELEASE" ]] && ! has_hub "$root" && { [[ "$role" == hub ]] || is_installed hub; }; then
    printf 'problem=%s\n' "this release is for a node only, but the hub on this machine needs the complete one: use an archive made by deployment/make-archive.sh without --node"
  fi
  [[ "$(uname -m)" == x86_64 ]] || printf 'problem=%s\n' "the machine is $(uname -m), but the release is for x86_64"
  [[ -d /run/systemd/system ]] || printf 'problem=%s\n' "systemd is not running on this machine"
  ((free >= least_free_kb)) || printf 'problem=%s\n' "$where has $((free / 1024)) MiB free, but $((least_free_kb / 1024)) MiB are needed"
  if [[ " $id_like " != *' debian '* && -n "$(missing_packages "$role")" ]]; then
    printf 'problem=%s\n' "this is not Debian (${os:-unknown system}); install the missing tools by hand first: qemu-img, qemu-nbd, nbdkit, nbdcopy, nbdinfo, ssh"
  fi
}

packages() {
  local missing
  mapfile -t missing < <(missing_packages "$1")
  if ((${#missing[@]} == 0)); then
    say "all required programs are installed"
    return
  fi
  say "installing the Debian packages ${missing[*]}"
  apt-get update -qq >&2 || say "apt-get update failed; trying with the existing package lists"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 || stop "apt-get could not install ${missing[*]}; see above"
  local left
  left="$(missing_packages "$1" | tr '\n' ' ')"
  [[ -z "$left" ]] || stop "programs of the packages $left are still missing although apt-get has nothing to do: reinstall them, or find out what removed their files"
  # Recorded for removal by hand later; the removal itself keeps them, since other programs may use them by then.
  mkdir -p "$base"
  printf '%s\n' "${missing[@]}" >>"$base/packages-installed-for-$1"
}

make_account() { # name home
  getent passwd "$1" >/dev/null && return
  say "creating the account $1"
  useradd --system --user-group --home-dir "$2" --no-create-home --shell /usr/sbin/nologin "$1"
}

join_group() { # account group
  getent group "$2" >/dev/null || return 0
  id -nG "$1" | tr ' ' '\n' | grep -qx "$2" || usermod --append --groups "$2" "$1"
}

accounts() {
  if [[ "$1" == hub ]]; then
    make_account sendense "$hub_data"
    make_account sendense-tunnel "$tunnel_data"
    # sshd treats an account with a locked password as locked. '*' matches no password and does not count as locked.
    usermod --password '*' sendense-tunnel
    join_group sendense sendense-tunnel
    # The hub's account must have no part in it.
    make_account sendense-keeper "$keeper_data"
    # For a hardware-virtualised sandbox if possible.
    [[ ! -e "$file_restore" ]] || join_group sendense kvm
    install -d -o sendense -g sendense -m 0750 "$hub_data" "$hub_data/repositories" "$hub_data/images"
    # The hub writes the permitted keys and the tunnel server its host key, each for the other to read. The directory belongs to the hub and is sticky: the
    # account that faces the network can add files, but neither replace nor remove the hub's authorized_keys.
    install -d -o sendense -g sendense-tunnel -m 3770 "$tunnel_data"
    # The hub's unit makes it writable, which needs the folder to be there when the unit starts. Only root may write to it.
    install -d -m 0755 "$mounts_data"
  else
    make_account sendense-node "$node_data"
    # Access to qemu:///system.
    join_group sendense-node libvirt
    install -d -o sendense-node -g sendense-node -m 0711 "$node_data"
    install -d -o sendense-node -g sendense-node -m 0750 "$node_images"
    if getent passwd libvirt-qemu >/dev/null; then
      install -d -o libvirt-qemu -g "$(id -gn libvirt-qemu)" -m 0770 "$node_scratch"
    else
      install -d -o sendense-node -g sendense-node -m 0770 "$node_scratch"
    fi
  fi
}

# Installs the tree that contains this file under /opt/sendense, atomically.
release() {
  local name target
  [[ -n "$root" && -f "$root/RELEASE" ]] || stop "this is not a release: unpack an archive made by deployment/make-archive.sh and run the install.sh in it"
  name="$(cat "$root/RELEASE")"
  target="$base/$name"
  if [[ "$root" == "$target" ]]; then return; fi
  # A node-only copy of this release is replaced by the complete one.
  if [[ -e "$target/RELEASE" ]] && { has_hub "$target" || ! has_hub "$root"; }; then
    say "release $name is already installed"
    return
  fi
  say "installing release $name to $target"
  mkdir -p "$base"
  rm -rf "$target.new"
  cp -a "$root" "$target.new"
  chown -R root:root "$target.new"
  sync -f "$target.new"
  [[ ! -e "$target" ]] || mv -T "$target" "$target.old"
  mv -T "$target.new" "$target"
  rm -rf "$target.old"
}

write_unless_there() { # file mode group
  if [[ -e "$1" ]]; then
    cat >/dev/null
    return
  fi
  say "writing $1"
  cat >"$1.new"
  chown "root:$3" "$1.new"
  chmod "$2" "$1.new"
  mv -T "$1.new" "$1"
}

config() { # role, advertised host of a hub
  local name
  if [[ "$1" == hub ]]; then
    install -d -m 0755 "$etc" "$etc/hub" "$etc/hub/conf.d" "$etc/tunnel-server" "$etc/keeper"
    write_unless_there "$etc/hub/hub.yaml" 0640 sendense <<YAML
# Settings of the hub: docs/operations.md names them all. Files in conf.d/ are read after this one and win. Secrets go to hub.env instead.
data_directory: $hub_data
tunnel_directory: $tunnel_data
local_node_image_roots: [$hub_data/images]
$(if [[ -n "${2:-}" ]]; then printf '# The address by which nodes reach this machine.\ntunnel_advertise_host: %s\n' "$2"; fi)
YAML
    write_unless_there "$etc/hub/hub.env" 0600 root <<'ENV'
# Read by systemd, so that the hub's account cannot read the file with the secrets. For example, your own PostgreSQL:
# DATABASE_URL=postgres://sendense:password@127.0.0.1:5432/sendense
ENV
    write_unless_there "$etc/tunnel-server/tunnel-server.yaml" 0644 root <<YAML
# Settings of the tunnel server, which runs under its own account and does not read the hub's settings.
tunnel_directory: $tunnel_data
tunnel_listen_host: 0.0.0.0
tunnel_listen_port: 9022
YAML
  else
    install -d -m 0755 "$etc" "$etc/node" "$etc/node/conf.d"
    write_unless_there "$etc/node/node.yaml" 0644 root <<YAML
# Settings of the node: docs/operations.md names them all. Files in conf.d/ are read after this one and win.
data_directory: $node_data
# Through the tunnel.
hub_url: http://127.0.0.1:9080
image_roots: [$node_images]
libvirt_scratch_directory: $node_scratch
YAML
    # Also when libvirt was installed after the node.
    if [[ -S /run/libvirt/libvirt-sock ]] && ! grep -qs '^libvirt_uri:' "$etc/node/node.yaml" "$etc/node/conf.d"/*.yaml; then
      write_unless_there "$etc/node/conf.d/10-libvirt.yaml" 0644 root <<<'libvirt_uri: qemu:///system'
    fi
    confine_qemu
  fi
  local source="$base/$(cat "$root/RELEASE")/deployment"
  [[ -d "$source" ]] || source="$root/deployment"
  install -m 0644 "$source/sysctl/60-sendense.conf" /etc/sysctl.d/60-sendense.conf
  sysctl -q -p /etc/sysctl.d/60-sendense.conf 2>/dev/null || say "not every line of /etc/sysctl.d/60-sendense.conf could be set; in a container the host's values apply"
  if [[ "$1" == hub && -d /etc/logrotate.d ]]; then install -m 0644 "$source/logrotate/sendense-hub" /etc/logrotate.d/sendense-hub; fi
  mkdir -p /usr/local/bin
  ln -sfn "$base/current/bin/sendense" /usr/local/bin/sendense
}

# If AppArmor confines the guests' qemu, it may create backup sockets, write scratch files and connect to disks served by the hub only at paths named in its
# profile.
confine_qemu() {
  local rules=/etc/apparmor.d/local/abstractions/libvirt-qemu
  [[ -e /etc/apparmor.d/abstractions/libvirt-qemu ]] || return 0
  mkdir -p "$(dirname "$rules")"
  # libvirt reads these rules when it reloads a guest's profile: at the start of a guest and of a backup.
  if ! grep -qsF "$node_scratch/" "$rules"; then
    say "letting the guests' qemu use $node_scratch: $rules"
    printf '%s/** rwk,\n' "$node_scratch" >>"$rules"
  fi
  if ! grep -qsF "$node_guests/" "$rules"; then
    say "letting the guests' qemu connect to sockets in $node_guests: $rules"
    printf '%s/** rw,\n' "$node_guests" >>"$rules"
  fi
}

# The units of the `current` release.
units() {
  local unit drop_in
  for unit in $(units_of "$1"); do
    # A release from before this unit existed.
    [[ -e "$base/current/deployment/systemd/$unit" ]] || continue
    cmp -s "$base/current/deployment/systemd/$unit" "/etc/systemd/system/$unit" || install -m 0644 "$base/current/deployment/systemd/$unit" "/etc/systemd/system/$unit"
  done
  # A release from before this file existed leaves it unchanged.
  drop_in="$base/current/deployment/systemd/sendense-hub.service.d/file-restore.conf"
  if [[ "$1" == hub && -e "$file_restore" && -e "$drop_in" ]]; then
    cmp -s "$drop_in" "$file_restore" || install -m 0644 "$drop_in" "$file_restore"
  fi
  systemctl daemon-reload
}

point_current_to() { # release name
  ! is_installed hub || has_hub "$base/$1" || stop "release $1 is for a node only, but there is a hub on this machine"
  ln -sfn "$base/$1" "$base/current.new"
  mv -T "$base/current.new" "$base/current"
}

current_release() { basename "$(readlink "$base/current" 2>/dev/null || true)"; }

switch() {
  local name now
  name="$(cat "$root/RELEASE")"
  [[ -e "$base/$name/RELEASE" ]] || stop "release $name is not at $base/$name"
  now="$(current_release)"
  if [[ "$now" == "$name" ]]; then
    say "release $name is already current"
  else
    [[ -z "$now" ]] || printf '%s\n' "$now" >"$base/previous"
    point_current_to "$name"
    say "release $name is now current${now:+, instead of $now}"
  fi
  units "$1"
  # The current and the previous release are kept; processes that outlive their program have already loaded what they need.
  local each
  for each in "$base"/*/; do
    each="$(basename "$each")"
    [[ "$each" == "$name" || "$each" == current || "$each" == "$(cat "$base/previous" 2>/dev/null)" ]] || rm -rf "${base:?}/$each"
  done
}

# Running the current release, and started after the last change of its unit and settings.
runs_as_it_should() { # role unit
  local pid since newer
  systemctl is-active -q "$2" || return 1
  pid="$(systemctl show -p MainPID --value "$2")"
  [[ "$(readlink "/proc/$pid/exe")" == "$(readlink -f "$base/current/node_modules/node/bin/node")" ]] || return 1
  since="$(LC_ALL=C date -d "$(LC_ALL=C systemctl show -p ActiveEnterTimestamp --value "$2")" +%s)" || return 1
  newer="$(find "/etc/systemd/system/$2" "/etc/systemd/system/$2.d" "$etc/$1" "$etc/tunnel-server" "$etc/keeper" "$etc/mounts" "$node_data/tunnel/tunnel.json" -newermt "@$since" -print -quit 2>/dev/null || true)"
  [[ -z "$newer" ]]
}

start() {
  local unit
  for unit in $(units_of "$1"); do
    systemctl enable -q "$unit"
    runs_as_it_should "$1" "$unit" && continue
    # Restarts a running service too: transfers survive it.
    systemctl restart "$unit" || stop "$unit does not start: $(journalctl -q -u "$unit" -n 5 -o cat --no-pager | tr '\n' ' ')"
  done
  if [[ "$1" == hub ]]; then wait_for_hub; fi
}

wait_for_hub() {
  local tries
  for ((tries = 0; tries < 600; tries++)); do
    # The tunnel server writes the second file once it listens.
    if curl -fsS -o /dev/null --max-time 5 http://127.0.0.1:9080/api/v1/health/live 2>/dev/null && systemctl is-active -q sendense-tunnel-server && [[ -e "$tunnel_data/server.json" ]]; then
      say "the hub answers at http://127.0.0.1:9080"
      return
    fi
    [[ "$(systemctl is-active sendense-hub)" != failed && "$(systemctl is-active sendense-tunnel-server)" != failed ]] || break
    sleep 0.5
  done
  stop "the hub or the tunnel server did not come up: $(journalctl -q -u sendense-hub -u sendense-tunnel-server -n 5 -o cat --no-pager)"
}

rollback() {
  local previous
  previous="$(cat "$base/previous" 2>/dev/null || true)"
  [[ -n "$previous" && -e "$base/$previous/RELEASE" ]] || stop "there is no previous release in $base"
  point_current_to "$previous"
  rm -f "$base/previous"
  units "$1"
  say "release $previous is current again"
  start "$1"
}

# Kills every process of a unit, including those that outlive it by design.
end_unit() {
  local procs pid tries
  systemctl disable -q --now "$1" 2>/dev/null || true
  for procs in "/sys/fs/cgroup/system.slice/$1/cgroup.procs" "/sys/fs/cgroup/systemd/system.slice/$1/cgroup.procs"; do
    [[ -e "$procs" ]] || continue
    for ((tries = 0; tries < 100; tries++)); do
      # Repeatedly, because a process may start another before it ends.
      [[ -s "$procs" || -n "$(cat "$procs" 2>/dev/null)" ]] || break
      while read -r pid; do kill -KILL "$pid" 2>/dev/null || true; done < <(cat "$procs" 2>/dev/null)
      sleep 0.1
    done
    [[ -z "$(cat "$procs" 2>/dev/null)" ]] || stop "processes of $1 did not end: $(tr '\n' ' ' <"$procs")"
  done
}

remove_account() {
  if getent passwd "$1" >/dev/null; then userdel "$1"; fi
  if getent group "$1" >/dev/null; then groupdel "$1"; fi
}

# The bitmaps from which the next incremental would start, in an image that no guest uses.
remove_bitmaps() { # image
  local bitmap
  while read -r bitmap; do
    qemu-img bitmap --remove "$1" "$bitmap" || remains "the bitmap $bitmap of $1: see above"
  done < <(qemu-img info "$1" 2>/dev/null | sed -n 's/^ *name: \(sendense-.*\)$/\1/p')
}

# Removes our objects at libvirt's domains: running backups, boot checks and checkpoints. Restored VMs belong to the user.
clear_libvirt() {
  command -v virsh >/dev/null && [[ -S /run/libvirt/libvirt-sock ]] || return 0
  local virsh=(virsh -q -c qemu:///system) domains domain checkpoint image active
  if ! domains="$("${virsh[@]}" list --all --name)"; then
    remains "checkpoints named sendense-... of libvirt's domains, because libvirt does not answer"
    return 0
  fi
  while read -r domain; do
    [[ -n "$domain" ]] || continue
    if [[ "$domain" == sendense-boot-check-* ]]; then
      "${virsh[@]}" destroy "$domain" >/dev/null 2>&1 || true
      "${virsh[@]}" undefine "$domain" >/dev/null 2>&1 || true
      continue
    fi
    # For a running guest: releases the disks frozen by a backup.
    if "${virsh[@]}" backup-dumpxml "$domain" 2>/dev/null | grep -qF "$node_scratch/"; then
      "${virsh[@]}" domjobabort "$domain" >/dev/null || remains "the backup job of the domain $domain: see above"
    fi
    active=no
    if [[ "$("${virsh[@]}" domstate "$domain")" != 'shut off' ]]; then active=yes; fi
    while read -r checkpoint; do
      [[ "$checkpoint" == sendense-* ]] || continue
      # For a domain that is off, libvirt only deletes its own record.
      if [[ "$active" == yes ]]; then
        "${virsh[@]}" checkpoint-delete "$domain" "$checkpoint" >/dev/null || remains "checkpoint $checkpoint of the domain $domain: see above"
      else
        "${virsh[@]}" checkpoint-delete "$domain" "$checkpoint" --metadata >/dev/null || remains "checkpoint $checkpoint of the domain $domain: see above"
      fi
    done < <("${virsh[@]}" checkpoint-list "$domain" --name 2>/dev/null)
    [[ "$active" == no ]] || continue
    while read -r image; do
      [[ ! -f "$image" ]] || remove_bitmaps "$image"
    done < <("${virsh[@]}" domblklist --details "$domain" | sed -n 's/^ *file *disk *[^ ]* *\(\/.*\)$/\1/p')
  done <<<"$domains"
}

# Only its mount points go: never anything on a share.
unmount_shares() {
  local point
  for point in "$mounts_data"/*; do
    # The share, and below it the folder that is bound to itself.
    while mountpoint -q "$point"; do umount --lazy -- "$point" || return; done
    [[ ! -d "$point" ]] || rmdir -- "$point"
  done
  [[ ! -d "$mounts_data" ]] || rmdir -- "$mounts_data"
}

remove() { # role [--data]
  local unit each
  for unit in $(units_of "$1"); do
    end_unit "$unit"
    rm -rf "/etc/systemd/system/$unit" "/etc/systemd/system/$unit.d"
  done
  systemctl daemon-reload
  systemctl reset-failed 'sendense-*' 2>/dev/null || true
  if [[ "$1" == hub ]]; then
    rm -f /etc/logrotate.d/sendense-hub
    unmount_shares
    rm -rf "$hub_cache"
    if [[ "${2:-}" == --data ]]; then
      rm -rf "$hub_data" "$tunnel_data" "$keeper_data" "$etc/hub" "$etc/tunnel-server" "$etc/keeper" "$etc/mounts"
      remove_account sendense
      remove_account sendense-tunnel
      remove_account sendense-keeper
    else
      remains "the hub's data: $hub_data, $tunnel_data, $etc"
    fi
  else
    # Now that nothing creates new ones.
    clear_libvirt
    while read -r -d '' each; do remove_bitmaps "$each"; done < <(find "$node_images" -type f -name '*.qcow2' -print0 2>/dev/null)
    rm -rf "$node_data" "$node_scratch" "$etc/node"
    [[ ! -e /etc/apparmor.d/local/abstractions/libvirt-qemu ]] || sed -i -e "\|^$node_scratch/|d" -e "\|^$node_guests/|d" /etc/apparmor.d/local/abstractions/libvirt-qemu
    # Images belong to the user; the directory is removed only if it holds none.
    rmdir "$node_images" 2>/dev/null || { [[ ! -e "$node_images" ]] || remains "$node_images, because it contains images"; }
    remove_account sendense-node
  fi
  if ! is_installed "$(other_of "$1")"; then
    for each in "$base"/packages-installed-for-*; do
      [[ ! -e "$each" ]] || remains "Debian packages that were installed for Sendense: $(tr '\n' ' ' <"$each")"
    done
    rm -rf "$base" /etc/sysctl.d/60-sendense.conf /usr/local/bin/sendense
    rmdir "$etc" 2>/dev/null || true
  fi
  say "removed"
}

# From here on every step sees that the option is set.
allow_mounts() {
  [[ ! -e "$file_restore" ]] || return 0
  [[ -n "$root" && -f "$root/RELEASE" ]] || stop "this is not a release: unpack an archive made by deployment/make-archive.sh and run the install.sh in it"
  say "letting the hub mount restore points: $file_restore"
  install -D -m 0644 "$root/deployment/systemd/sendense-hub.service.d/file-restore.conf" "$file_restore"
}

allow_shares() {
  install -d -m 0755 "$etc" "$etc/mounts"
  # Files with the accounts of CIFS servers.
  install -d -m 0700 "$etc/mounts/credentials"
  write_unless_there "$mounts_settings" 0644 root <<YAML
# Settings of the mount helper, which mounts the shares of the hub's repositories.
mounts_directory: $mounts_data
mount_credentials_directory: $etc/mounts/credentials
hub_data_directory: $hub_data
YAML
}

all() { # role [advertised host]
  local problems
  problems="$(check "$1" | sed -n 's/^problem=//p')"
  [[ -z "$problems" ]] || stop "$problems"
  packages "$1"
  accounts "$1"
  release
  config "$1" "${2:-}"
  switch "$1"
  if [[ "$1" == hub || -e "$node_data/tunnel/tunnel.json" ]]; then
    start "$1"
  else
    say "installed; next: pair it with its hub using 'cd / && runuser -u sendense-node -- sendense node enrol --config $etc/node/node.yaml', then: install.sh step start node"
  fi
}

# Uses one drop-in per path, so that a path can be revoked by removing its file.
allow() { # role path
  local path unit="sendense-$1.service" drop_in mounted account
  is_installed "$1" || stop "no $1 is installed here"
  [[ "$2" == /* ]] || stop "$2 must be an absolute path"
  path="$(readlink -m "$2")"
  [[ "$path" =~ ^[A-Za-z0-9._/-]+$ ]] || stop "$path contains characters that systemd requires quoting for; choose another path, or write a drop-in for $unit by hand"
  case "$path/" in
    /home/* | /root/* | /run/user/* | /tmp/* | /var/tmp/*) stop "$path cannot be used: ProtectHome= and PrivateTmp= hide it from $unit" ;;
    / | /boot/* | /dev/ | /etc/* | /opt/* | /proc/* | /sys/* | /usr/*) stop "$path is a system directory" ;;
  esac
  account="$(account_of "$1")"
  drop_in="/etc/systemd/system/$unit.d/allow-$(systemd-escape --path "$path").conf"
  if [[ -b "$path" ]]; then
    install -d "$(dirname "$drop_in")"
    printf '# Made by install.sh allow %s %s\n[Service]\nDeviceAllow=%s rw\n' "$1" "$path" "$path" >"$drop_in"
  else
    [[ ! -e "$path" || -d "$path" ]] || stop "$path is neither a directory nor a block device"
    [[ -d "$path" ]] || install -d -o "$account" -g "$account" -m 0750 "$path"
    mounted="$(findmnt --noheadings --output TARGET --target "$path" || echo /)"
    install -d "$(dirname "$drop_in")"
    {
      printf '# Made by install.sh allow %s %s\n' "$1" "$path"
      # Not RequiresMountsFor=: a missing disk must fail only what is on it, not the whole service.
      [[ "$mounted" == / ]] || printf '[Unit]\nAfter=%s\n' "$(systemd-escape --path --suffix=mount "$mounted")"
      printf '[Service]\nReadWritePaths=-%s\n' "$path"
    } >"$drop_in"
    # The keeper sets attributes of the files in a repository.
    if [[ "$1" == hub ]]; then install -D -m 0644 "$drop_in" "/etc/systemd/system/sendense-keeper.service.d/$(basename "$drop_in")"; fi
  fi
  systemctl daemon-reload
  # Transfers survive the restart.
  if systemctl is-active -q "$unit"; then start "$1"; fi
  [[ "$1" == node || -b "$path" ]] || runuser -u "$account" -- test -w "$path" || say "$path belongs to $(stat -c %U "$path"), and $account cannot write to it: use chown or chgrp"
  say "$unit may use $path ($drop_in)"
}

role_or_usage() { [[ "${1:-}" == hub || "${1:-}" == node ]] || usage; }

main() {
  local command="${1:-}"
  case "$command" in
    hub)
      local advertised='' mounts=no shares=no
      shift
      while (($# > 0)); do
        case "$1" in
          --advertise)
            [[ $# -ge 2 ]] || usage
            advertised="$2"
            shift
            ;;
          --with-file-restore) mounts=yes ;;
          --with-shares) shares=yes ;;
          *) usage ;;
        esac
        shift
      done
      as_root
      [[ "$mounts" == no ]] || allow_mounts
      [[ "$shares" == no ]] || allow_shares
      all hub "$advertised"
      ;;
    node)
      [[ $# -eq 1 ]] || usage
      as_root
      all node
      ;;
    rollback)
      role_or_usage "${2:-}"
      as_root
      rollback "$2"
      ;;
    allow)
      role_or_usage "${2:-}"
      [[ $# -eq 3 ]] || usage
      as_root
      allow "$2" "$3"
      ;;
    remove)
      role_or_usage "${2:-}"
      [[ -z "${3:-}" || ("$2" == hub && "$3" == --data) ]] || usage
      as_root
      remove "$2" "${3:-}"
      ;;
    step)
      role_or_usage "${3:-}"
      case "${2:-}" in
        check) check "$3" ;;
        packages | accounts | config | switch | start)
          as_root
          "$2" "$3"
          ;;
        release)
          as_root
          release
          ;;
        *) usage ;;
      esac
      ;;
    *) usage ;;
  esac
}

as_root() { [[ $EUID -eq 0 ]] || stop "this needs root: sudo $script ..."; }

main "$@"
exit
