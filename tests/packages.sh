#!/usr/bin/env bash
# Makes the packages of a release and uses them as a new user would: the .deb in a bare Debian, the .rpm in an empty root, the archive through
# packaging/install.sh from a server on loopback, and the container image.
#   tests/packages.sh [PART...]      parts: deb rpm archive image crate (default: all)
# Needs root, cargo-deb, cargo-generate-rpm, debootstrap, rpm, buildah, musl-tools, redis-server, a Debian mirror, and the Rust target
# x86_64-unknown-linux-musl (or aarch64-…). Takes about twenty minutes, most of it for two release builds.
# Exit codes: 0 all checks passed; 1 a check failed; 2 the checks cannot run here.
#   PACKAGES_FROM=DIR      five programs that are built already, for .deb and .rpm
#   PACKAGES_STATIC=DIR    five static ones, for the archive and the image
#   PACKAGES_BASE=FILE.tar stores the bare Debian there, and reuses it the next time
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
programs=(distcomp distcomp-worker distcomp-submit distcomp-status distcomp-ctl)
unset DISTCOMP_REDIS_URL DISTCOMP_CONFIG

cannot() {
    echo "tests/packages.sh cannot be run here: $*" >&2
    exit 2
}
fail() {
    echo "FAILED: $*" >&2
    exit 1
}
ok() { echo "ok: $*"; }

parts=("$@")
[ $# -gt 0 ] || parts=(deb rpm archive image crate)
[ "$(id -u)" -eq 0 ] || cannot "debootstrap and chroot need root"
for part in "${parts[@]}"; do
    case $part in
    deb) needs="cargo-deb:cargo-install-cargo-deb debootstrap:debootstrap dpkg-shlibdeps:dpkg-dev" ;;
    rpm) needs="cargo-generate-rpm:cargo-install-cargo-generate-rpm rpm:rpm" ;;
    archive) needs="python3:python3 curl:curl redis-server:redis-server" ;;
    image) needs="buildah:buildah debootstrap:debootstrap redis-server:redis-server" ;;
    crate) needs="cargo:rustup" ;;
    *) cannot "there is no part $part; valid: deb rpm archive image crate" ;;
    esac
    for need in $needs; do
        command -v "${need%%:*}" >/dev/null 2>&1 || cannot "there is no ${need%%:*} (package or crate ${need#*:})"
    done
done
has() { [[ " ${parts[*]} " == *" $1 "* ]]; }

work=$(mktemp -d /tmp/distcomp-packages.XXXXXX)
started=()
clean_up() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    if [ -n "${container:-}" ]; then buildah "${storage[@]}" rm "$container" >/dev/null 2>&1 || true; fi
    for mounted in "$work"/debian/proc "$work"/debian/dev; do
        mountpoint -q "$mounted" && umount "$mounted"
    done
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM

# A private Redis on a socket and on a port of loopback with a password.
start_redis() {
    port=$((20000 + $$ % 10000))
    redis-server --port "$port" --bind 127.0.0.1 --requirepass secret --unixsocket "$work/redis.sock" --unixsocketperm 777 --dir "$work" \
        --save '' --daemonize no >"$work/redis.log" 2>&1 &
    started+=($!)
    for _ in $(seq 100); do
        [ -S "$work/redis.sock" ] && return
        sleep 0.1
    done
    fail "redis-server does not start: $(cat "$work/redis.log")"
}

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
machine=$(uname -m)

echo "== programs"
if has deb || has rpm; then
    mkdir -p "$work/target/release"
    if [ -z "${PACKAGES_FROM:-}" ]; then
        cargo build --release --locked --bins
        PACKAGES_FROM=${CARGO_TARGET_DIR:-target}/release
    fi
    for name in "${programs[@]}"; do install "$PACKAGES_FROM/$name" "$work/target/release/"; done
    packaging/stage.sh "$work/target/release"
fi
if has archive || has image; then
    if [ -z "${PACKAGES_STATIC:-}" ]; then
        cargo build --release --locked --bins --target "$machine-unknown-linux-musl"
        PACKAGES_STATIC=${CARGO_TARGET_DIR:-target}/$machine-unknown-linux-musl/release
    fi
    mkdir -p "$work/static/usr/local/bin"
    for name in "${programs[@]}"; do install "$PACKAGES_STATIC/$name" "$work/static/usr/local/bin/"; done
    if grep -qa 'GLIBC_2\.' "$work/static/usr/local/bin/distcomp-worker"; then fail "the programs in $PACKAGES_STATIC are not static"; fi
fi

if has deb || has image; then
    echo "== a bare Debian"
    if [ -n "${PACKAGES_BASE:-}" ] && [ -f "$PACKAGES_BASE" ]; then
        mkdir "$work/debian"
        tar -xf "$PACKAGES_BASE" -C "$work/debian"
    else
        debootstrap --variant=minbase --include=systemd,busybox-static,ca-certificates bookworm "$work/debian" \
            "${PACKAGES_MIRROR:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1 || cannot "debootstrap failed: $(tail -n 3 "$work/debootstrap.log")"
        if [ -n "${PACKAGES_BASE:-}" ]; then tar -cf "$PACKAGES_BASE" -C "$work/debian" .; fi
    fi
    mount -t proc proc "$work/debian/proc"
    mount --bind /dev "$work/debian/dev"
fi
inside() { chroot "$work/debian" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"; }

if has deb; then
    echo "== .deb"
    CARGO_TARGET_DIR=$work/target cargo deb --no-build --fast --quiet --output "$work/distcomp.deb"
    echo "size: $(stat -c %s "$work/distcomp.deb") bytes; $(dpkg-deb -f "$work/distcomp.deb" Depends)"
    dpkg-deb -f "$work/distcomp.deb" Depends | grep -q libc6 || [ -n "${PACKAGES_FROM:-}" ] || fail "no dependency on libc6"
    cp "$work/distcomp.deb" "$work/debian/root/"
    inside dpkg -i /root/distcomp.deb >"$work/dpkg.log" 2>&1 || fail "dpkg -i: $(cat "$work/dpkg.log")"
    ok "it installs in a bare Debian"
    for name in "${programs[@]}"; do
        inside "$name" --version | grep -q "$version" || fail "$name --version"
        [ -s "$work/debian/usr/share/man/man1/$name.1.gz" ] || fail "no manual page of $name"
        [ -s "$work/debian/usr/share/bash-completion/completions/$name" ] || fail "no completion of $name"
    done
    ok "the five programs run there, with manual pages and completions"
    inside getent passwd distcomp | grep -q '/srv/distcomp:/usr/sbin/nologin' || fail "no system user"
    [ "$(inside stat -c '%U %a' /var/lib/distcomp)" = "distcomp 700" ] || fail "state directory: $(inside stat -c '%U %a' /var/lib/distcomp)"
    inside systemd-analyze verify /usr/lib/systemd/system/distcomp-worker.service >"$work/verify.log" 2>&1 || true
    if grep -q distcomp-worker "$work/verify.log"; then fail "systemd-analyze verify: $(cat "$work/verify.log")"; fi
    ok "the unit passes systemd-analyze verify"
    # The verification can fail.
    inside sh -c 'sed "s|/usr/bin/distcomp-worker|/usr/bin/distcomp-nothing|" /usr/lib/systemd/system/distcomp-worker.service > /run/distcomp-worker.service'
    inside systemd-analyze verify /run/distcomp-worker.service >"$work/verify.log" 2>&1 || true
    grep -q distcomp-nothing "$work/verify.log" || fail "systemd-analyze verify accepts a missing program"
    start_redis
    cp "$work/debian/etc/distcomp/conf.json" "$work/conf.json"
    sed -i "s|\"redis_host\": \"localhost\",|\"redis_host\": \"127.0.0.1\", \"redis_pass\": \"secret\",|; s|6379|$port|" "$work/debian/etc/distcomp/conf.json"
    as_service() { inside setpriv --reuid distcomp --regid distcomp --clear-groups env STATE_DIRECTORY=/var/lib/distcomp sh -c "cd /srv/distcomp && $1"; }
    as_service 'distcomp-worker --config /etc/distcomp/conf.json --check' >"$work/check.log" 2>&1 || fail "--check: $(cat "$work/check.log")"
    as_service 'distcomp-submit --config /etc/distcomp/conf.json -c 0 -m 0 -- "id -un > {}" ::: made' >/dev/null
    as_service 'distcomp-worker --config /etc/distcomp/conf.json --burst' >"$work/worker.log" 2>&1 || fail "the worker: $(cat "$work/worker.log")"
    [ "$(cat "$work/debian/srv/distcomp/made")" = distcomp ] || fail "the task did not run as distcomp"
    ok "a task runs as the user of the service"
    touch "$work/debian/var/lib/distcomp/kept"
    inside dpkg -i /root/distcomp.deb >"$work/dpkg.log" 2>&1 || fail "the same again: $(cat "$work/dpkg.log")"
    grep -q secret "$work/debian/etc/distcomp/conf.json" || fail "a changed conf.json was overwritten"
    inside dpkg -r distcomp >"$work/dpkg.log" 2>&1 || fail "dpkg -r: $(cat "$work/dpkg.log")"
    [ ! -e "$work/debian/usr/bin/distcomp-worker" ] || fail "a program is left after the removal"
    [ -e "$work/debian/var/lib/distcomp/kept" ] && [ -e "$work/debian/srv/distcomp/made" ] || fail "the removal has deleted the state or the files of tasks"
    [ -e "$work/debian/etc/distcomp/conf.json" ] || fail "the removal has deleted conf.json"
    ok "removal leaves the state directory, the files of tasks and conf.json"
    inside dpkg -P distcomp >"$work/dpkg.log" 2>&1 || fail "dpkg -P: $(cat "$work/dpkg.log")"
    [ ! -e "$work/debian/var/lib/distcomp" ] && [ -e "$work/debian/srv/distcomp/made" ] || fail "purge removes the state, and not the files of tasks"
    ok "purge removes the state"
    if command -v lintian >/dev/null 2>&1; then lintian --fail-on error --suppress-tags no-changelog,copyright-without-copyright-notice,maintainer-script-calls-systemctl,dir-or-file-in-srv,bogus-mail-host,embedded-library,unstripped-binary-or-object "$work/distcomp.deb" || fail "lintian"; fi
fi

if has rpm; then
    echo "== .rpm"
    cargo generate-rpm --target-dir "$work/target" --payload-compress gzip --output "$work/distcomp.rpm"
    rpm -K --nosignature "$work/distcomp.rpm" >/dev/null || fail "its digests are wrong"
    for script in --scripts --requires; do rpm -qp "$script" "$work/distcomp.rpm" >"$work/rpm$script" 2>/dev/null; done
    grep -q useradd "$work/rpm--scripts" || fail "it makes no user"
    grep -q 'libc.so.6' "$work/rpm--requires" || [ -n "${PACKAGES_FROM:-}" ] || fail "it does not require glibc"
    for script in packaging/rpm/*.sh; do sh -n "$script"; done
    mkdir "$work/fedora"
    # Debian's rpm has no database of Fedora: neither requirements nor scripts can be tried here.
    rpm --root "$work/fedora" --dbpath /var/lib/rpm --nodeps --noscripts -i "$work/distcomp.rpm" 2>"$work/rpm.log" || fail "rpm -i: $(cat "$work/rpm.log")"
    for name in "${programs[@]}"; do
        "$work/fedora/usr/bin/$name" --version | grep -q "$version" || fail "$name --version"
    done
    for file in usr/lib/systemd/system/distcomp-worker.service etc/distcomp/conf.json usr/share/man/man5/distcomp-conf.5.gz usr/share/zsh/site-functions/_distcomp; do
        [ -s "$work/fedora/$file" ] || fail "it has no $file"
    done
    rpm -qp --configfiles "$work/distcomp.rpm" 2>/dev/null | grep -qx /etc/distcomp/conf.json || fail "conf.json is no configuration file"
    ok "its programs run, with the unit, pages, completions and the configuration"
fi

if has archive; then
    echo "== archive and install.sh"
    mkdir -p "$work/releases/v$version"
    packaging/tarball.sh "$work/static/usr/local/bin" "$machine-linux-musl" "$work/releases/v$version" >/dev/null
    packaging/tarball.sh "$work/static/usr/local/bin" "$machine-linux-gnu" "$work/releases/v$version" >/dev/null
    sum=$(sha256sum "$work/releases/v$version/distcomp-$version-$machine-linux-musl.tar.gz" | cut -d' ' -f1)
    packaging/tarball.sh "$work/static/usr/local/bin" "$machine-linux-musl" "$work/again" >/dev/null
    [ "$sum" = "$(sha256sum "$work/again/"*.tar.gz | cut -d' ' -f1)" ] || fail "the archive is not the same twice"
    (cd "$work/releases/v$version" && sha256sum ./*.tar.gz | sed 's| \./| |' >SHA256SUMS)
    python3 -u -m http.server --bind 127.0.0.1 --directory "$work/releases" 0 >"$work/http.log" 2>&1 &
    started+=($!)
    for _ in $(seq 100); do
        address=$(sed -n 's|.*(\(http://127[^/]*\)/).*|\1|p' "$work/http.log")
        [ -z "$address" ] || break
        sleep 0.1
    done
    [ -n "${address:-}" ] || fail "the server of the releases does not start: $(cat "$work/http.log")"
    # As the release workflow does it.
    sed "s|@RELEASES@|$address|; s|@VERSION@|$version|" packaging/install.sh >"$work/install.sh"
    for flag in "" --static; do
        # shellcheck disable=SC2086
        sh "$work/install.sh" --prefix "$work/prefix$flag" $flag >"$work/install.log" 2>&1 || fail "install.sh $flag: $(cat "$work/install.log")"
        for name in "${programs[@]}"; do "$work/prefix$flag/bin/$name" --version | grep -q "$version" || fail "$name --version"; done
    done
    [ -s "$work/prefix/share/man/man1/distcomp-worker.1" ] && [ -s "$work/prefix/share/doc/distcomp/LICENSE-MIT" ] || fail "pages or licences are missing"
    ok "install.sh installs from a release"
    (cd "$work" && PATH=$work/prefix/bin:$PATH distcomp run -c 0 -- 'echo {} > ran' ::: yes >"$work/run.log" 2>&1) || true
    [ "$(cat "$work/ran" 2>/dev/null)" = yes ] || fail "distcomp run: $(cat "$work/run.log")"
    ok "the programs of the archive run a task"
    if sh "$work/install.sh" --prefix "$work/none" --version 9.9.9 2>"$work/refused.log"; then fail "a version that does not exist is installed"; fi
    grep -q 'cannot download' "$work/refused.log" || fail "a missing version: $(cat "$work/refused.log")"
    echo x >>"$work/releases/v$version/distcomp-$version-$machine-linux-musl.tar.gz"
    if sh "$work/install.sh" --prefix "$work/none" --static 2>"$work/refused.log"; then fail "a changed archive is installed"; fi
    grep -q 'nothing was installed' "$work/refused.log" && [ ! -e "$work/none" ] || fail "a changed archive: $(cat "$work/refused.log")"
    if sh packaging/install.sh 2>"$work/refused.log"; then fail "a copy without addresses installs"; fi
    ok "a changed archive, a missing version and a copy without addresses are refused"
fi

if has image; then
    echo "== image"
    # The two first stages of the Containerfile are pulled and compiled elsewhere; here directories with the same files replace them.
    export BUILDAH_ISOLATION=chroot
    storage=(--root "$work/storage" --runroot "$work/run" --storage-driver vfs)
    mkdir -p "$work/base/etc/ssl/certs" "$work/base/bin"
    cp "$work/debian/bin/busybox" "$work/base/bin/"
    cp "$work/debian/etc/ssl/certs/ca-certificates.crt" "$work/base/etc/ssl/certs/"
    mkdir "$work/context"
    buildah "${storage[@]}" build --quiet --file Containerfile --build-context "build=$work/static" --build-context "base=$work/base" \
        --tag distcomp "$work/context" >"$work/buildah.log" 2>&1 || fail "buildah: $(cat "$work/buildah.log")"
    container=$(buildah "${storage[@]}" from distcomp)
    root=$(buildah "${storage[@]}" mount "$container")
    size=$(du -sb --apparent-size "$root" | cut -f1)
    echo "size: $((size / 1000000)) MB"
    [ "$size" -le 60000000 ] || fail "the image has $size bytes; at most 60 MB"
    [ "$(buildah "${storage[@]}" inspect --format '{{.OCIv1.Config.User}}' "$container")" = 65532:65532 ] || fail "it runs as root"
    [ -n "${port:-}" ] || start_redis
    # A worker as the first process, not root, with a read-only root and no cgroup that it could write, as in a pod.
    mkdir -p "$root/etc/distcomp" "$root/proc" "$root/dev"
    echo "{\"redis_host\": \"127.0.0.1\", \"redis_port\": $port, \"redis_pass\": \"secret\", \"state_dir\": \"/work/state\", \"result_dir\": \"/work/results\"}" >"$root/etc/distcomp/conf.json"
    chown 0:65532 "$root/etc/distcomp/conf.json"
    chmod 640 "$root/etc/distcomp/conf.json"
    "$work/static/usr/local/bin/distcomp-submit" --redis-url "redis://:secret@127.0.0.1:$port/0" -c 0 -m 0 -- 'id -u > {}; cat /proc/1/comm >> {}' ::: /work/made >/dev/null
    unshare --mount --pid --fork --propagation private sh -euc '
        root=$1
        mount --bind "$root" "$root"
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount --bind "$root/work" "$root/work"
        mount -o remount,bind,ro "$root"
        exec setpriv --no-new-privs chroot --userspec=65532:65532 --groups=65532 "$root" /usr/local/bin/distcomp-worker \
            --config /etc/distcomp/conf.json --name pod --idle-timeout 2s
    ' sh "$root" >"$work/pod.log" 2>&1 || fail "the worker in the image: $(cat "$work/pod.log")"
    [ "$(tr '\n' ' ' <"$root/work/made")" = "65532 distcomp-worker " ] || fail "the task in the image: $(cat "$root/work/made"; cat "$work/pod.log")"
    ok "a worker runs as the first process, not root, on a read-only root, and ends when it is idle"
fi

if has crate; then
    echo "== crate"
    cargo package --list --allow-dirty >"$work/crate.list" 2>/dev/null
    for file in Cargo.toml Cargo.lock README.md LICENSE-MIT LICENSE-APACHE src/lib.rs src/bin/distcomp.rs; do
        grep -qx "$file" "$work/crate.list" || fail "the crate has no $file"
    done
    # Everything that the build includes must be in it: it is built from the packed files alone.
    cargo package --quiet --allow-dirty --no-verify --target-dir "$work/crate"
    tar -xzf "$work/crate/package/distcomp-$version.crate" -C "$work"
    size=$(stat -c %s "$work/crate/package/distcomp-$version.crate")
    echo "size: $size bytes"
    [ "$size" -le 10485760 ] || fail "crates.io takes 10 MiB at most"
    (cd "$work/distcomp-$version" && CARGO_TARGET_DIR=${CRATE_TARGET_DIR:-$work/crate} cargo check --quiet --locked --offline --bins)
    ok "the crate compiles from its own files"
fi
echo "all checks of packages passed: ${parts[*]}"
