#!/usr/bin/env bash
# Tests the systemd units under a real systemd, and cgroup v2 with its memory and process controllers. The script creates a Debian guest, boots it,
# runs the checks in tests/vm/*.sh there, and deletes it.
#   tests/vm.sh [GROUP...]        groups of checks: plain hardened cgroup user suite reboot (default: all)
# Requires root, qemu-system-x86, debootstrap, e2fsprogs and a Debian mirror, and takes 5 to 15 minutes. Exit codes: 0 all checks passed; 1 a check
# failed, or the guest did not finish; 2 the checks cannot run here.
#   VM_BASE=FILE.tar     stores the bare Debian there, and reuses it the next time
#   VM_KEEP=DIR          stores the console output and the log there
#   VM_ACCEL=tcg         emulates the processor even if there is /dev/kvm
#   VM_SUITE=debian      Debian release, default bookworm     VM_MIRROR=URL   its mirror
#   VM_KERNEL=SUITE      takes the kernel from this suite instead (bookworm-backports)
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."

groups=("$@")
[ $# -gt 0 ] || groups=(plain hardened cgroup user suite reboot)
release=${VM_SUITE:-bookworm}
mirror=${VM_MIRROR:-http://deb.debian.org/debian}

cannot() {
    echo "tests/vm.sh cannot be run here: $*" >&2
    exit 2
}
[ "$(id -u)" -eq 0 ] || cannot "debootstrap needs root"
for tool in qemu-system-x86_64:qemu-system-x86 debootstrap:debootstrap mkfs.ext4:e2fsprogs cargo:rustup; do
    command -v "${tool%%:*}" >/dev/null 2>&1 || cannot "there is no ${tool%%:*} (apt-get install ${tool#*:})"
done
for group in "${groups[@]}"; do
    [ -f "tests/vm/$group.sh" ] || cannot "there is no tests/vm/$group.sh"
done

work=$(mktemp -d /tmp/distcomp-vm.XXXXXX)
qemu=
clean_up() {
    if [ -n "$qemu" ]; then kill "$qemu" 2>/dev/null || true; fi
    if [ -n "${VM_KEEP:-}" ]; then
        mkdir -p "$VM_KEEP"
        cp "$work"/*.log "$VM_KEEP/" 2>/dev/null || true
    fi
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

echo "== programs"
cargo build --locked --bins
tests=$(cargo test --locked --test it --no-run --message-format=json |
    python3 -c 'import json, sys
for line in sys.stdin:
    found = json.loads(line)
    if found.get("executable") and found["target"]["name"] == "it": print(found["executable"])')
target=${CARGO_TARGET_DIR:-$PWD/target}/debug

echo "== a Debian"
packages=systemd,systemd-sysv,dbus,libpam-systemd,dbus-user-session,udev,kmod,login,procps,util-linux,iproute2,sudo,strace
packages+=,netbase,redis-server,python3,linux-image-cloud-amd64
if [ -n "${VM_BASE:-}" ] && [ -f "$VM_BASE" ]; then
    mkdir "$work/root"
    tar -C "$work/root" -xf "$VM_BASE"
else
    debootstrap --variant=minbase --include="$packages" "$release" "$work/root" "$mirror" >"$work/debootstrap.log" 2>&1 || {
        tail -n 20 "$work/debootstrap.log" >&2
        cannot "debootstrap failed"
    }
    rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/usr/share/{doc,man,locale}/*
    if [ -n "${VM_KERNEL:-}" ]; then
        echo "deb $mirror $VM_KERNEL main" >"$work/root/etc/apt/sources.list.d/kernel.list"
        chroot "$work/root" sh -c "apt-get -q update && apt-get -q install -y -t $VM_KERNEL linux-image-cloud-amd64 && apt-get clean" \
            >>"$work/debootstrap.log" 2>&1 || cannot "the kernel of $VM_KERNEL cannot be installed"
    fi
    if [ -n "${VM_BASE:-}" ]; then tar -C "$work/root" -cf "$VM_BASE" .; fi
fi
root=$work/root
kernel=$(printf '%s\n' "$root"/boot/vmlinuz-* | sort -V | tail -n 1)
cp "$kernel" "$work/vmlinuz"
cp "$root/boot/initrd.img-${kernel##*/vmlinuz-}" "$work/initrd"

# The programs without debug information, which would take a quarter of a gigabyte.
mkdir -p "$root/opt/distcomp/bin" "$root$target"
for name in distcomp-worker distcomp-submit distcomp-status distcomp-ctl; do
    strip -o "$root/opt/distcomp/bin/$name" "$target/$name"
    # The tests expect the programs here.
    cp "$root/opt/distcomp/bin/$name" "$root$target/$name"
done
strip -o "$root/opt/distcomp/it" "$tests"
cp -a example conf.json tests/vm "$root/opt/distcomp/"
printf '%s\n' "${groups[@]}" >"$root/opt/distcomp/groups"
echo "$target" >"$root/opt/distcomp/target"
echo distcomp-vm >"$root/etc/hostname"
echo "127.0.0.1 localhost distcomp-vm" >"$root/etc/hosts"
echo "/dev/vda / ext4 rw 0 1" >"$root/etc/fstab"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
cp tests/vm/distcomp-checks.service "$root/etc/systemd/system/"
ln -s ../distcomp-checks.service "$root/etc/systemd/system/multi-user.target.wants/"
truncate -s 4G "$work/disk"
mkfs.ext4 -q -d "$root" "$work/disk"
rm -rf --one-file-system "$root"

echo "== the guest"
# boot ACCELERATOR...: runs the guest until it switches itself off, or for too long.
boot() {
    local end=$((SECONDS + ${VM_SECONDS:-1500})) shown
    : >"$work/checks.log"
    : >"$work/qemu.log"
    qemu-system-x86_64 "$@" -m 2048 -smp 2 -nodefaults -nic none -display none -monitor none \
        -kernel "$work/vmlinuz" -initrd "$work/initrd" -append "root=/dev/vda rw console=ttyS0 panic=-1 mitigations=off quiet" \
        -drive "file=$work/disk,if=virtio,format=raw" -snapshot \
        -serial "file:$work/console.log" -serial "file:$work/checks.log" 2>"$work/qemu.log" &
    qemu=$!
    tail -n +1 --pid="$qemu" -F "$work/checks.log" 2>/dev/null &
    shown=$!
    while kill -0 "$qemu" 2>/dev/null && ! grep -q 'KVM internal error' "$work/qemu.log"; do
        # Every wait in the guest is bounded. This bound is for a guest that hangs.
        if [ "$SECONDS" -ge "$end" ]; then
            echo "the guest came to no end" >&2
            break
        fi
        sleep 1
    done
    kill "$qemu" 2>/dev/null || true
    wait "$qemu" || true
    qemu=
    wait "$shown" 2>/dev/null || true
    ! grep -q 'KVM internal error' "$work/qemu.log"
}
# The KVM of some cloud machines does not support everything that a kernel uses. Emulation is slower and gives the same results.
if [ "${VM_ACCEL:-kvm}" != kvm ] || [ ! -w /dev/kvm ] || ! boot -accel kvm -cpu host; then
    echo "without KVM"
    boot -accel tcg,thread=multi -cpu max
fi

verdict=$(grep -a '^VERDICT: ' "$work/checks.log" | tail -n 1 || true)
if [ -z "$verdict" ]; then
    echo "no verdict. The end of its console:" >&2
    tail -n 40 "$work/console.log" >&2
    exit 1
fi
grep -a '^FAIL ' "$work/checks.log" >&2 || true
echo "$verdict"
case $verdict in
"VERDICT: 0 failed, 0 held"*) exit 1 ;;
"VERDICT: 0 failed, "*) exit 0 ;;
*) exit 1 ;;
esac
