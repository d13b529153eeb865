#!/bin/sh
# Installs a release of DistComp without a compiler: downloads the archive for this machine, compares its checksum, and copies the programs, manual
# pages and completions below PREFIX.
#   sh install.sh [--prefix DIR] [--version VERSION] [--static]
#     --prefix DIR         default: /usr/local as root, otherwise ~/.local
#     --version VERSION    default: the release with which this script was published
#     --static             the statically linked programs, for a machine with an old glibc or with musl. Chosen by itself where it is needed
# DISTCOMP_RELEASES is the address below which VERSION/FILE is found. Needs curl or wget, tar, and sha256sum or shasum.
set -eu

# The release workflow writes these two.
releases=${DISTCOMP_RELEASES:-@RELEASES@}
version=@VERSION@

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

download() { # download URL FILE
    if command -v curl >/dev/null 2>&1; then
        curl --fail --silent --show-error --location --retry 3 --output "$2" "$1" || fail "cannot download $1"
    elif command -v wget >/dev/null 2>&1; then
        wget --quiet --output-document="$2" "$1" || fail "cannot download $1"
    else
        fail "neither curl nor wget is installed"
    fi
}

checksum() { # checksum FILE
    if command -v sha256sum >/dev/null 2>&1; then
        sha256sum "$1" | cut -d' ' -f1
    elif command -v shasum >/dev/null 2>&1; then
        shasum -a 256 "$1" | cut -d' ' -f1
    else
        fail "neither sha256sum nor shasum is installed"
    fi
}

# Whether this machine has glibc 2.28 or newer, which the dynamically linked programs need.
has_glibc() {
    found=$(getconf GNU_LIBC_VERSION 2>/dev/null | sed 's/^glibc 2\.\([0-9]*\).*/\1/')
    case $found in '' | *[!0-9]*) return 1 ;; *) [ "$found" -ge 28 ] ;; esac
}

# Everything is in a function, so that a script that was downloaded in part does nothing.
main() {
    prefix='' libc=''
    while [ $# -gt 0 ]; do
        case $1 in
        --prefix) [ $# -ge 2 ] || fail "--prefix needs a directory"; prefix=$2; shift 2 ;;
        --version) [ $# -ge 2 ] || fail "--version needs a version"; version=${2#v}; shift 2 ;;
        --static) libc=musl; shift ;;
        -h | --help) echo "usage: sh install.sh [--prefix DIR] [--version VERSION] [--static]"; exit 0 ;;
        *) fail "there is no argument $1; valid: --prefix DIR, --version VERSION, --static" ;;
        esac
    done
    case $releases in @*) fail "this copy does not know where the releases are: set DISTCOMP_RELEASES, or download install.sh from a release" ;; esac
    case $version in @*) fail "this copy does not know the version: use --version, or download install.sh from a release" ;; esac
    case $version in *[!A-Za-z0-9.+-]*) fail "--version is \"$version\"; valid: digits and points, such as 0.1.0" ;; esac
    [ "$(uname -s)" = Linux ] || fail "there are releases for Linux only, and this is $(uname -s)"
    case $(uname -m) in
    x86_64 | amd64) machine=x86_64 ;;
    aarch64 | arm64) machine=aarch64 ;;
    *) fail "there is no release for $(uname -m): build from source (docs/install.md)" ;;
    esac
    [ -n "$libc" ] || { if has_glibc; then libc=gnu; else libc=musl; fi; }
    if [ -z "$prefix" ]; then
        if [ "$(id -u)" -eq 0 ]; then prefix=/usr/local; else prefix=$HOME/.local; fi
    fi

    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM
    name=distcomp-$version-$machine-linux-$libc
    download "$releases/v$version/SHA256SUMS" "$work/SHA256SUMS"
    expected=$(sed -n "s/^\([0-9a-f]\{64\}\)[ *]*$name\.tar\.gz\$/\1/p" "$work/SHA256SUMS")
    [ -n "$expected" ] || fail "SHA256SUMS of version $version does not name $name.tar.gz"
    download "$releases/v$version/$name.tar.gz" "$work/archive"
    found=$(checksum "$work/archive")
    [ "$found" = "$expected" ] || fail "the checksum of $name.tar.gz is $found, but SHA256SUMS says $expected: nothing was installed"
    tar -xzf "$work/archive" -C "$work"
    [ -x "$work/$name/bin/distcomp-worker" ] || fail "$name.tar.gz has no programs"
    "$work/$name/bin/distcomp-worker" --version >/dev/null || fail "the programs do not run on this machine; try --static"
    mkdir -p "$prefix" || fail "cannot create $prefix"
    # A program that runs is not overwritten: its file is replaced.
    (cd "$work/$name" && find . -type d) | while read -r dir; do mkdir -p "$prefix/$dir"; done
    (cd "$work/$name" && find . -type f) | while read -r file; do
        cp "$work/$name/$file" "$prefix/$file.new" && mv -f "$prefix/$file.new" "$prefix/$file" || exit 1
    done || fail "cannot write below $prefix"
    echo "DistComp $version ($machine, $libc) is installed below $prefix"
    case :$PATH: in *:"$prefix/bin":*) ;; *) echo "add $prefix/bin to PATH" ;; esac
    command -v redis-server >/dev/null 2>&1 || command -v valkey-server >/dev/null 2>&1 ||
        echo "\`distcomp run\` also needs a redis-server or valkey-server on PATH"
}

main "$@"
