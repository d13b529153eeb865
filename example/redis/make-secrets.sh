#!/usr/bin/env bash
# Creates the files of a secure Redis for DistComp: certificates, passwords, users and a configuration.
#   example/redis/make-secrets.sh [--prefix PREFIX] [--days N] DIR [HOST-NAME-OR-ADDRESS...]
# The script creates DIR with mode 0700. If DIR exists and is not empty, it changes nothing and exits with 2. The names and addresses are
# those under which clients reach the server; default: those of this machine. The certificates are valid for N days (default 825).
# PREFIX is the `redis_key_prefix` of conf.json, if there is one: the users can then access no other keys of the server.
#
# The files in DIR, all with mode 0600:
#   redis.conf  users.acl  server.crt  server.key  ca.crt      for the server: redis-server DIR/redis.conf
#   conf.USER.json  USER.pass  client.crt  client.key  ca.crt  for the commands of worker, submitter, operator, viewer, dashboard
#   ca.key                                                      signs certificates: keep it, preferably elsewhere
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
umask 077
here=$(cd "$(dirname "$0")" && pwd)

usage() {
    sed -n '2,3p' "$0" | sed 's/^# *//' >&2
    exit 2
}

fail() {
    echo "make-secrets.sh: $*" >&2
    exit 2
}

prefix='' days=825
while [ $# -gt 0 ]; do
    case $1 in
    --prefix) [ $# -ge 2 ] || usage; prefix=$2; shift 2 ;;
    --days) [ $# -ge 2 ] || usage; days=$2; shift 2 ;;
    --) shift; break ;;
    -*) usage ;;
    *) break ;;
    esac
done
[ $# -ge 1 ] && [ -n "$1" ] || usage
target=$1
shift
case $prefix in *[!A-Za-z0-9._:{}@/-]*) fail "--prefix is \"$prefix\"; valid: letters, digits and ._:{}@/-" ;; esac
case $days in '' | *[!0-9]*) fail "--days is \"$days\"; valid: a number" ;; esac
command -v openssl >/dev/null 2>&1 || fail "openssl is not installed (apt-get install openssl)"
[ -d "$target" ] || [ ! -e "$target" ] || fail "$target exists and is not a directory"
[ ! -d "$target" ] || [ -z "$(ls -A "$target")" ] || fail "$target is not empty: nothing is overwritten. Move it away first"
case $target in *[[:space:]\"\\\|\&]*) fail "DIR must not contain blanks, quotes, backslashes, | or &: Redis would misread them" ;; esac

# The names in the certificate of the server.
[ $# -gt 0 ] || set -- "$(uname -n)" localhost 127.0.0.1 ::1
names=''
first=$1
for name in "$@"; do
    case $name in
    '' | *[!A-Za-z0-9.:_*-]*) fail "\"$name\" is not a host name or address" ;;
    *:*) names=$names,IP:$name ;;
    *[!0-9.]*) names=$names,DNS:$name ;;
    *) names=$names,IP:$name ;;
    esac
done
names=${names#,}

# All or nothing: the files are created beside DIR and moved there when they are complete.
mkdir -p "$(dirname "$target")"
target=$(cd "$(dirname "$target")" && pwd)/$(basename "$target")
work=$(mktemp -d "$target.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

quietly() { # shows the output of openssl only if it fails
    "$@" 2>openssl.log || { cat openssl.log >&2; exit 1; }
    rm -f openssl.log
}
new_key() { quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

new_key ca.key
quietly openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj "/CN=DistComp CA $(openssl rand -hex 4)" \
    -addext keyUsage=critical,keyCertSign,cRLSign -out ca.crt

# certificate NAME USAGE [SUBJECT-ALTERNATIVE-NAMES]
certificate() {
    new_key "$1.key"
    quietly openssl req -new -key "$1.key" -subj "/CN=distcomp $1" -out "$1.csr"
    printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\n' "$2" >"$1.ext"
    [ -z "${3:-}" ] || printf 'subjectAltName=%s\n' "$3" >>"$1.ext"
    quietly openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 16 | sed 's/^./1/')" \
        -sha256 -days "$days" -extfile "$1.ext" -out "$1.crt"
    rm -f "$1.csr" "$1.ext"
}
# The server is also a client: of its replicas, its master and its sentinels.
certificate server serverAuth,clientAuth "$names"
certificate client clientAuth

# Passwords are in files, and their hashes in the list of users. No password appears in a command line.
cp "$here/users.acl" users.acl
for user in worker submitter operator viewer dashboard; do
    openssl rand -hex 24 >"$user.pass"
    hash=$(tr -d '\n' <"$user.pass" | openssl dgst -sha256 -r | cut -d' ' -f1)
    sed -i.old -e "/^user $user /s| resetpass | resetpass #$hash |" -e "/^user $user /s|~|~$prefix|g" \
        -e "/^user $user /s| &| \\&$prefix|g" users.acl
    cat >"conf.$user.json" <<JSON
{
  "redis_host": "$first", "redis_port": 6379, "redis_user": "$user", "redis_pass_file": "$target/$user.pass",
  "redis_tls": {"ca": "$target/ca.crt", "cert": "$target/client.crt", "key": "$target/client.key"},
  "redis_key_prefix": "$prefix"
}
JSON
done
rm -f users.acl.old
sed "s|/etc/distcomp-redis|$target|" "$here/redis.conf" >redis.conf
mkdir data

[ ! -d "$target" ] || rmdir "$target"
mv "$work" "$target"
trap - EXIT
cat <<TEXT
made $target for $names, good for $days days
  server    redis-server $target/redis.conf
  nodes     copy ca.crt, client.crt, client.key, worker.pass and conf.worker.json to each; the same for submitter, operator, viewer where people work
TEXT
