#!/usr/bin/env bash
# Builds a release archive of this checkout: the compiled programs, the npm packages that they load at run time (Node.js is one of them), and deployment/.
#   deployment/make-archive.sh [--node] [DIRECTORY]    default: dist-archives below the checkout
# The archive serves a hub and its nodes: a hub runs a local node, and packs its own release for other machines, without what only a hub needs.
# With --node the archive is the smaller one, for a node that the hub cannot log in to. Both are the same release.
# Prints the archive's path as its last line. The version is that of package.json followed by a digest of the content, so that equal content is the same release
# and different content never is.
set -euo pipefail
root="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)"
[[ "${SENDENSE_ARCHIVE_AS_BUILT:-}" == true ]] || "$root/bin/setup" --quiet
node="$root/node_modules/.bin/node"
role=hub
if [[ "${1:-}" == --node ]]; then
  role=node
  shift
fi
output="$(realpath -m "${1:-$root/dist-archives}")"
mkdir -p "$output"

case "$(uname -m)" in
  x86_64) machine=x64 ;;
  *)
    echo "make-archive: $(uname -m) is not supported: there are binaries for x86_64 only" >&2
    exit 1
    ;;
esac

staging="$(mktemp -d)"
trap 'rm -rf "$staging"' EXIT
tree="$staging/sendense"
mkdir -p "$tree/bin" "$tree/node_modules"

cp -a "$root/dist" "$tree/dist"
rm -rf "$tree/dist/.compile-cache" "$tree/dist/.built-from" "$tree/dist/.openapi" "$tree/dist/demo"
find "$tree/dist" -name '*.tsbuildinfo' -delete
# Archives may be there: a container image is built from one.
tar -C "$root" --exclude='sendense-*.tar.gz*' -cf - deployment | tar -C "$tree" -xf -
install -m 0755 "$root/deployment/install/sendense" "$tree/bin/sendense"

# bin/bundle.mjs has put the packages into the programs, and has written down which ones must be there besides. Everything runs on the package `node`.
(cd "$root" && "$node" -e '
  const { globSync, readFileSync } = require("node:fs");
  const wings = Object.fromEntries(globSync("dist/src/*/packages.json").map((file) => [file.split("/")[2], JSON.parse(readFileSync(file, "utf8"))]));
  const all = Object.values(wings).flat();
  const nodes = Object.entries(wings).flatMap(([wing, packages]) => (wing === "hub" ? [] : packages));
  for (const name of new Set(["node", ...all])) console.log(name === "node" || nodes.includes(name) ? "all" : "hub", name);
') >"$staging/packages"
# What a node does without; its release is packed without these paths.
not_for_nodes="$tree/deployment/not-for-nodes.txt"
(cd "$tree" && printf './%s\n' dist/src/hub dist/src/keeper dist/src/tunnel/main.tunnel-server.*) >"$not_for_nodes"
while read -r whose name; do
  mkdir -p "$tree/node_modules/$name"
  tar -C "$root/node_modules/$name" --exclude=./node_modules --exclude='*.map' --exclude='*.d.ts' --exclude='*.d.mts' --exclude='*.d.cts' -cf - . | tar -C "$tree/node_modules/$name" -xf -
  [[ "$whose" == all ]] || printf './node_modules/%s\n' "$name" >>"$not_for_nodes"
done <"$staging/packages"

chmod -R u=rwX,go=rX "$tree"
version="$("$node" -p 'require(process.argv[1]).version' "$root/package.json")"
# Owner, times and order must not affect the digest.
digest="$(cd "$tree" && find . \( -type f -o -type l \) -print0 | LC_ALL=C sort -z | tar --null --no-recursion -T - --owner=0 --group=0 --numeric-owner --mtime=@0 -cf - | sha256sum | cut -c1-12)"
release="$version+$digest"
"$node" -e '
  const { name, type, license } = JSON.parse(require("node:fs").readFileSync(process.argv[1], "utf8"));
  console.log(JSON.stringify({ name, version: process.argv[2], private: true, type, license }, null, 2));
' "$root/package.json" "$release" >"$tree/package.json"
printf '%s\n' "$release" >"$tree/RELEASE"

archive="$output/sendense-$release-linux-$machine.tar.gz"
if [[ "$role" == node ]]; then
  archive="$output/sendense-node-$release-linux-$machine.tar.gz"
  (cd "$tree" && xargs -d '\n' rm -r <"$not_for_nodes" && find node_modules -type d -empty -delete)
fi
tar -C "$staging" --owner=0 --group=0 --numeric-owner --sort=name -cf - sendense | gzip -1 >"$archive.new"
(cd "$output" && sha256sum <"$archive.new" | sed "s|-\$|$(basename "$archive")|" >"$archive.sha256")
mv "$archive.new" "$archive"
printf '%s\n' "$archive"
