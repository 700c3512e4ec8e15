#!/bin/sh
# Proves the Dockerfile where there is no image registry: bases from debootstrap and the installed
# toolchain, the image by buildah, then `weird` in it. As root; on demand (./x image), for it takes minutes.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d)
# Never through a mount that was left behind: the toolchain is mounted into the build.
trap 'grep -q "$work" /proc/mounts || rm -rf "$work"' EXIT
# An image store of its own: nothing of the operator's is touched, and one rm takes it away.
buildah() {
    command buildah --storage-driver vfs --root "$work/images" --runroot "$work/run" "$@"
}
step() { echo "image: $*"; }

mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' | sed -n 's/^bookworm //p' | head -n 1)
step "Debian 12 by debootstrap from $mirror"
debootstrap --variant=minbase bookworm "$work/debian" "$mirror" >"$work/log" || { cat "$work/log"; exit 1; }
container=$(buildah from scratch)
buildah add -q "$container" "$work/debian" / >/dev/null
buildah commit -q --rm "$container" weir-debian >/dev/null
rm -rf "$work/debian"

step "the same with the installed Rust toolchain and its downloaded crates"
cargo fetch -q --locked
container=$(buildah from weir-debian)
buildah config --env PATH=/usr/local/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    --env CARGO_HOME=/usr/local/cargo --env CARGO_NET_OFFLINE=true "$container"
buildah copy -q "$container" "${CARGO_HOME:-$HOME/.cargo}/registry" /usr/local/cargo/registry >/dev/null
buildah commit -q --rm "$container" weir-rust >/dev/null

step "the image"
buildah bud -q --isolation chroot --pull-never \
    --volume "$(rustc --print sysroot):/usr/local/rust:ro" \
    --build-arg DEBIAN_IMAGE=localhost/weir-debian --build-arg RUST_IMAGE=localhost/weir-rust \
    -t weir . >"$work/log" 2>&1 || { tail -n 40 "$work/log"; exit 1; }

step "programs in it"
container=$(buildah from --pull-never localhost/weir)
size=$(du -sm "$(buildah mount "$container")" | cut -f1)
step "$size MB unpacked"
in_image() { buildah run --isolation chroot "$container" -- "$@"; }
for program in weird weir; do
    in_image "$program" --version | grep "^$program [0-9]" || { echo "image: $program does not run"; exit 1; }
done
in_image weird check /etc/weir/weir.toml
# The libraries that EAL loads by itself are those that nobody misses until it runs.
missing=$(in_image sh -c 'ldd /usr/local/bin/weird /usr/lib/*/dpdk/pmds-*/*.so* | sed -n "/not found/p"')
[ -z "$missing" ] || { echo "image: $missing"; exit 1; }
entry=$(buildah inspect --type image --format '{{.OCIv1.Config.Entrypoint}}' localhost/weir)
[ "$entry" = "[weird]" ] || { echo "image: its entry point is $entry"; exit 1; }
step "good"
