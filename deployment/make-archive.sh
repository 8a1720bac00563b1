#!/usr/bin/env bash
# Builds a release archive of this checkout: the compiled programs, the npm packages they need (Node.js is one of them), and deployment/.
#   deployment/make-archive.sh [DIRECTORY]    default: dist-archives below the checkout
# Prints the archive's path as its last line. The version is the one of package.json with a digest of the content behind it, so that the same content is the
# same release and other content never is.
set -euo pipefail
root="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)"
[[ "${SENDENSE_ARCHIVE_AS_BUILT:-}" == true ]] || "$root/bin/setup" --quiet
node="$root/node_modules/.bin/node"
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
# Archives may lie there: the image of a container is made from one.
tar -C "$root" --exclude='sendense-*.tar.gz*' -cf - deployment | tar -C "$tree" -xf -
install -m 0755 "$root/deployment/install/sendense" "$tree/bin/sendense"

# The packages that package-lock.json does not mark as for development, where they are installed: optional ones of other systems are not.
(cd "$root" && "$node" -e '
  const { packages } = JSON.parse(require("node:fs").readFileSync("package-lock.json", "utf8"));
  for (const [path, entry] of Object.entries(packages)) if (path !== "" && !entry.dev && !entry.devOptional) console.log(path);
') >"$staging/packages"
# Packages lie inside of packages; what is for development there must not come along, so each is copied without its own node_modules.
while IFS= read -r path; do
  [[ -d "$root/$path" ]] || continue
  mkdir -p "$tree/$path"
  tar -C "$root/$path" --exclude=./node_modules --exclude='*.map' --exclude='*.d.ts' --exclude='*.d.mts' --exclude='*.d.cts' -cf - . | tar -C "$tree/$path" -xf -
done <"$staging/packages"

chmod -R u=rwX,go=rX "$tree"
version="$("$node" -p 'require(process.argv[1]).version' "$root/package.json")"
# Owner, times and order must not show in the digest.
digest="$(cd "$tree" && find . \( -type f -o -type l \) -print0 | LC_ALL=C sort -z | tar --null --no-recursion -T - --owner=0 --group=0 --numeric-owner --mtime=@0 -cf - | sha256sum | cut -c1-12)"
release="$version+$digest"
"$node" -e '
  const { name, type, license } = JSON.parse(require("node:fs").readFileSync(process.argv[1], "utf8"));
  console.log(JSON.stringify({ name, version: process.argv[2], private: true, type, license }, null, 2));
' "$root/package.json" "$release" >"$tree/package.json"
printf '%s\n' "$release" >"$tree/RELEASE"

archive="$output/sendense-$release-linux-$machine.tar.gz"
tar -C "$staging" --owner=0 --group=0 --numeric-owner --sort=name -cf - sendense | gzip -1 >"$archive.new"
(cd "$output" && sha256sum <"$archive.new" | sed "s|-\$|$(basename "$archive")|" >"$archive.sha256")
mv "$archive.new" "$archive"
printf '%s\n' "$archive"
