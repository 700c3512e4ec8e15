#!/bin/sh
# Builds the packages and tries them, as root: lintian, systemd-analyze, and in an overlay of this machine's
# root, with a network of its own, installed, started, used, removed. Nothing outside of it changes.
# The stock ipvsadm is used where it is installed.
set -eu
cd "$(dirname "$0")/.."

OUT=${CARGO_TARGET_DIR:-target}/deb
passed=0
failed=0
# check NAME COMMAND...
check() {
    name=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok: $name"
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
    fi
}

if [ "${1-}" != inside ]; then
    packaging/build.sh "$OUT"
    # The first entry closes no report of Debian's, and the maintainers' address is none.
    check lintian lintian --tag-display-limit 0 --allow-root --fail-on error,warning \
        --suppress-tags initial-upload-closes-no-bugs,bogus-mail-host,no-version-field,mail-address-loops-or-bounces \
        "$OUT"/*.deb
    work=$(mktemp -d)
    trap 'rmdir "$work"' EXIT
    status=0
    unshare --mount --net --pid --fork sh -eu -c '
        mount -t tmpfs tmpfs "$1"
        mkdir "$1/upper" "$1/work" "$1/root"
        mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
        cp -r "$2" "$1/root/deb"
        cp packaging/try.sh "$1/root/deb/try.sh"
        mount --rbind /dev "$1/root/dev"
        mount -t proc proc "$1/root/proc"
        mount -t sysfs sysfs "$1/root/sys"
        mount -t tmpfs tmpfs "$1/root/run"
        mount -t tmpfs tmpfs "$1/root/tmp"
        ip link set lo up
        exec chroot "$1/root" /bin/sh /deb/try.sh inside
    ' sh "$work" "$OUT" || status=$?
    [ $status = 0 ] || failed=$((failed + 1))
    echo "packages outside of the overlay: $passed passed, $failed failed"
    exit $((failed > 0))
fi

# ---- inside of the overlay ----------------------------------------------------------------------

cd /deb
export DEBIAN_FRONTEND=noninteractive
# What is missing is not fetched: dependencies are declared, and lintian has looked.
install_one() { dpkg --force-depends -i "$1" >/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log; return 1; }; }
wait_for() { for _ in $(seq 100); do [ -e "$1" ] && return 0; sleep 0.1; done; return 1; }

has_stock=$([ -x /sbin/ipvsadm ] && [ ! -L /sbin/ipvsadm ] && echo yes || echo no)
check "weir is installed" install_one weir_*.deb
check "the unit is valid" systemd-analyze verify /lib/systemd/system/weird.service
check "the shipped configuration is valid" weird check /etc/weir/weir.toml
for page in weird.8 weir.1 weir-import.1 weir-ipvsadm.1; do
    check "there is a man page $page" test -e "/usr/share/man/man${page##*.}/$page.gz"
done

completes() { bash -c '. /usr/share/bash-completion/completions/weir && complete -p weir' >/dev/null; }
check "bash completes weir" completes
for shell in zsh/vendor-completions/_weir fish/vendor_completions.d/weir.fish; do
    check "there is $shell" grep -q ipvsadm "/usr/share/$shell"
done

# What a director of this machine keeps is not for this one.
rm -rf /var/lib/weir
mkdir -p /run/weir /var/lib/weir
cat >/tmp/weir.toml <<'END'
[eal]
huge_pages = false
memory_mb = 128
pci = false
[workers]
cores = [0]
idle = "adaptive"
[limits]
flows_per_worker = 1024
[metrics]
listen = false
[[port]]
name = "null"
device = "net_null0"
twin = false
END
weird --config /tmp/weir.toml >/tmp/weird.log 2>&1 &
daemon=$!
check "weird starts" wait_for /run/weir/ipvs.sock
check "weir asks it" weir status
ipvsadm_drives() {
    "$@" -A -t 192.0.2.100:80 -s rr &&
        "$@" -a -t 192.0.2.100:80 -r 10.0.0.1 -m &&
        "$@" -Ln | grep -q '  -> 10.0.0.1:80  *Masq' &&
        "$@" -C
}
check "weir ipvsadm drives it" ipvsadm_drives weir ipvsadm
check "weir-ipvs-compat is installed" install_one weir-ipvs-compat_*.deb
check "the kernel's module is guarded" grep -qx 'install ip_vs /bin/false' /lib/modprobe.d/weir-ipvs.conf
if [ -e /lib/systemd/system/keepalived.service ]; then
    check "keepalived's unit is valid with its drop-in" systemd-analyze verify keepalived.service
fi
# What a boot does by the unit or by the init script, with rules saved before.
rules_are_loaded_at_boot() {
    drive=$1
    shift
    printf 'AUTO="true"\nDAEMON="none"\n' >/etc/default/ipvsadm
    printf '%s\n' '# ipvsadm.rules' '-A -t 192.0.2.100:80 -s wrr' '-a -t 192.0.2.100:80 -r 10.0.0.1:80 -g -w 3' \
        >/etc/ipvsadm.rules
    "$@" start >/tmp/rules.log 2>&1 || { cat /tmp/rules.log; return 1; }
    $drive -Ln | grep -q '  -> 10.0.0.1:80  *Route  *3' || return 1
    "$@" stop >/tmp/rules.log 2>&1 || { cat /tmp/rules.log; return 1; }
    [ -z "$($drive -S -n)" ] || return 1
    echo 'AUTO="false"' >/etc/default/ipvsadm
    "$@" start >/tmp/rules.log 2>&1 && [ -z "$($drive -S -n)" ]
}
if [ "$has_stock" = yes ]; then
    check "the stock ipvsadm drives it" ipvsadm_drives weir-ipvsadm
    preload=$(sed -n 's/^Environment=//p' /lib/systemd/system/ipvsadm.service.d/50-weir.conf)
    check "the stock init script loads its rules into it" \
        rules_are_loaded_at_boot weir-ipvsadm env "$preload" /etc/init.d/ipvsadm
    dpkg --force-depends -r ipvsadm >/dev/null 2>&1
fi
reads_proc() {
    weir ipvsadm -A -t 192.0.2.100:80 -s rr &&
        LD_PRELOAD=$(echo /usr/lib/*/weir/libweir-ipvs.so) grep -q '^TCP  C0000264:0050 rr' /proc/net/ip_vs &&
        weir ipvsadm -C
}
check "/proc/net/ip_vs is read through the library" reads_proc
check "weir-ipvsadm is installed" install_one weir-ipvsadm_*.deb
check "ipvsadm is Weir's and drives it" ipvsadm_drives ipvsadm
check "ipvsadm-save is Weir's" ipvsadm-save -n
check "ipvsadm's unit is valid" systemd-analyze verify /lib/systemd/system/ipvsadm.service
check "ipvsadm's unit is enabled" systemctl --root=/ is-enabled ipvsadm.service
check "the unit loads its rules" rules_are_loaded_at_boot ipvsadm /usr/lib/weir/ipvsadm-rules
rules_are_saved() {
    ipvsadm -A -u 192.0.2.100:53 -s rr -p 60 && ipvsadm-save -n >/tmp/saved && /usr/lib/weir/ipvsadm-rules save &&
        grep -v '^#' /etc/ipvsadm.rules | cmp - /tmp/saved && ipvsadm -C
}
check "rules are saved" rules_are_saved
restores() { echo '-A -f 7 -s wlc' | ipvsadm-restore && [ "$(ipvsadm-save -n)" = '-A -f 7 -s wlc' ]; }
check "ipvsadm-restore is Weir's" restores
for page in ipvsadm.8 ipvsadm-save.8 ipvsadm-restore.8; do
    check "there is a man page $page" gzip -tq "/usr/share/man/man8/$page.gz"
done
kill "$daemon"
wait "$daemon" || { cat /tmp/weird.log; failed=$((failed + 1)); }

files=$(for name in weir weir-ipvsadm weir-ipvs-compat; do dpkg -L "$name"; done |
    while read -r path; do [ -d "$path" ] || echo "$path"; done)
removed() { dpkg --force-depends --purge weir-ipvsadm weir-ipvs-compat weir >/tmp/dpkg.log 2>&1 || { cat /tmp/dpkg.log; return 1; }; }
check "all are removed" removed
nothing_left() {
    for path in $files /var/lib/weir; do
        [ ! -e "$path" ] || { echo "$path is left"; return 1; }
    done
}
check "nothing is left" nothing_left
echo "packages in the overlay: $passed passed, $failed failed"
exit $((failed > 0))
