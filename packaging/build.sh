#!/bin/sh
# Builds the Debian packages into DIR (default target/deb) from what cargo built:
#   packaging/build.sh [DIR]
# PROFILE says which programs are taken (default release, which is built here first).
set -eu
umask 022
cd "$(dirname "$0")/.."

OUT=${1:-${CARGO_TARGET_DIR:-target}/deb}
PROFILE=${PROFILE:-release}
case $PROFILE in
release) cargo build --release --locked -p weird -p weir -p weir-preload; built=release ;;
dev) built=debug ;;
*) built=$PROFILE ;;
esac
BUILT=$(realpath "${CARGO_TARGET_DIR:-target}/$built")
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
TRIPLET=$(dpkg-architecture -q DEB_HOST_MULTIARCH)
# The same tree gives the same packages, whenever they are built.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

rm -rf "$OUT"
mkdir -p "$OUT"
OUT=$(realpath "$OUT")
work=$OUT/work
mkdir -p "$work"
cp -r packaging/debian "$work/debian"
cat >"$work/debian/changelog" <<END
weir ($VERSION) bookworm; urgency=medium

  * See /usr/share/doc/weir/NEWS.gz.

 -- Weir maintainers <maintainers@weir.invalid>  $(date -R -u -d "@$SOURCE_DATE_EPOCH")
END

# file PACKAGE MODE SOURCE DESTINATION
file() { install -D -m "$2" "$3" "$work/$1/$4"; }
packed() { install -d "$(dirname "$work/$1/$3")"; gzip -9n <"$2" >"$work/$1/$3"; chmod 644 "$work/$1/$3"; }
program() { file "$1" 755 "$BUILT/$2" "$3"; strip --strip-unneeded --remove-section=.comment "$work/$1/$3"; }

# What every package has.
documents() {
    file "$1" 644 packaging/debian/copyright "usr/share/doc/$1/copyright"
    packed "$1" "$work/debian/changelog" "usr/share/doc/$1/changelog.gz"
}

daemon_and_client() {
    program weir weird usr/sbin/weird
    program weir weir usr/bin/weir
    file weir 644 conf/weir.toml etc/weir/weir.toml
    file weir 644 conf/weird.service lib/systemd/system/weird.service
    sed -i 's,/usr/bin/weird,/usr/sbin/weird,' "$work/weir/lib/systemd/system/weird.service"
    "$BUILT/weir" man-pages "$work/man"
    "$BUILT/weird" man-page "$work/man/weird.8"
    for page in "$work"/man/*; do
        packed weir "$page" "usr/share/man/man${page##*.}/$(basename "$page").gz"
    done
    for shell in bash:bash-completion/completions/weir zsh:zsh/vendor-completions/_weir \
        fish:fish/vendor_completions.d/weir.fish; do
        "$BUILT/weir" completions "${shell%%:*}" >"$work/completion"
        file weir 644 "$work/completion" "usr/share/${shell#*:}"
    done
    packed weir CHANGELOG.md usr/share/doc/weir/NEWS.gz
    file weir 644 README.md usr/share/doc/weir/README.md
    file weir 644 conf/alerts.yml usr/share/doc/weir/examples/alerts.yml
    for example in conf/examples/*; do
        file weir 644 "$example" "usr/share/doc/weir/examples/$(basename "$example")"
    done
    documents weir
}

# Under the names of the package ipvsadm, which it stands in for.
names_of_ipvsadm() {
    mkdir -p "$work/weir-ipvsadm/sbin"
    for name in ipvsadm ipvsadm-save ipvsadm-restore; do
        ln -s /usr/bin/weir "$work/weir-ipvsadm/sbin/$name"
        mkdir -p "$work/weir-ipvsadm/usr/share/man/man8"
        ln -s ../man1/weir-ipvsadm.1.gz "$work/weir-ipvsadm/usr/share/man/man8/$name.8.gz"
    done
    file weir-ipvsadm 644 packaging/ipvsadm/ipvsadm.service lib/systemd/system/ipvsadm.service
    file weir-ipvsadm 755 packaging/ipvsadm/ipvsadm-rules usr/lib/weir/ipvsadm-rules
    documents weir-ipvsadm
}

# For the stock programs, unmodified.
library_for_stock_programs() {
    library=usr/lib/$TRIPLET/weir/libweir-ipvs.so
    program weir-ipvs-compat libweir_ipvs_preload.so "$library"
    chmod 644 "$work/weir-ipvs-compat/$library"
    for source in keepalived.conf ipvsadm.conf weir-ipvsadm weir-ipvsadm.8; do
        sed "s,@LIBRARY@,/$library," "packaging/compat/$source" >"$work/compat.$source"
    done
    file weir-ipvs-compat 644 "$work/compat.keepalived.conf" lib/systemd/system/keepalived.service.d/50-weir.conf
    file weir-ipvs-compat 644 "$work/compat.ipvsadm.conf" lib/systemd/system/ipvsadm.service.d/50-weir.conf
    file weir-ipvs-compat 755 "$work/compat.weir-ipvsadm" usr/sbin/weir-ipvsadm
    packed weir-ipvs-compat "$work/compat.weir-ipvsadm.8" usr/share/man/man8/weir-ipvsadm.8.gz
    file weir-ipvs-compat 644 packaging/compat/modprobe.conf lib/modprobe.d/weir-ipvs.conf
    documents weir-ipvs-compat
}

# package NAME
package() {
    tree=$work/$1
    mkdir -p "$tree/DEBIAN"
    for script in preinst postinst prerm postrm conffiles; do
        [ ! -e "packaging/debian/$1.$script" ] ||
            install -m "$([ $script = conffiles ] && echo 644 || echo 755)" \
                "packaging/debian/$1.$script" "$tree/DEBIAN/$script"
    done
    (
        cd "$work"
        programs=$(find "$1" -type f \( -name 'weir' -o -name weird -o -name '*.so' \) ! -path '*/share/*')
        : >debian/substvars
        # shellcheck disable=SC2086
        [ -z "$programs" ] ||
            dpkg-shlibdeps -Tdebian/substvars $(printf ' -e%s' $programs) 2>"$work/shlibdeps.log" ||
            { cat "$work/shlibdeps.log"; exit 1; }
        dpkg-gencontrol -p"$1" -Tdebian/substvars -P"$tree" >/dev/null
        cd "$tree"
        find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums
        chmod 644 DEBIAN/md5sums
    )
    find "$tree" -exec touch --no-dereference -d "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zxz --build "$tree" "$OUT" >/dev/null
}

daemon_and_client
names_of_ipvsadm
library_for_stock_programs
for name in weir weir-ipvsadm weir-ipvs-compat; do package "$name"; done
rm -rf "$work"
ls -1 "$OUT"
