# shellcheck shell=sh disable=SC2154,SC2088
# Read by `sh` on standard input, after lines that set `name`, `dir`, `beside`, `config` and the flags of the worker ("$@"). It starts the worker
# apart from this session and answers in lines that begin with "distcomp ". The whole of it is read before anything runs: nothing below may take the
# rest of it for its input.
answer() { printf 'distcomp %s\n' "$*"; }
fault() {
    answer "fault $*"
    exit 1
}
# The last lines of what the worker has logged since $before.
told() { tail -c "+$((before + 1))" "$log" | tail -n 5 | sed 's/^/distcomp log /'; }
find_program() {
    for program in "$PWD/distcomp-worker" "$(command -v distcomp-worker)" "$beside/distcomp-worker" \
        "$HOME/.local/bin/distcomp-worker" "$HOME/.cargo/bin/distcomp-worker" /usr/local/bin/distcomp-worker; do
        if [ -f "$program" ] && [ -x "$program" ]; then return; fi
    done
    fault "distcomp-worker is neither in $PWD, nor on the PATH of commands by ssh, nor in $beside, ~/.local/bin, ~/.cargo/bin or /usr/local/bin: install it"
}
start() {
    unset CDPATH INVOCATION_ID NOTIFY_SOCKET
    case $dir in
    '~') dir=$HOME ;;
    '~/'*) dir=$HOME/${dir#'~/'} ;;
    esac
    cd -- "$dir" 2>/dev/null || fault "cannot enter the directory $dir: make it, or name another with --dir"
    find_program
    if [ "$config" = default ] && [ -z "${DISTCOMP_CONFIG:-}" ]; then
        [ -r conf.json ] || fault "there is no conf.json in $PWD that can be read: copy it there, or name another with -- --config PATH"
        set -- --config conf.json "$@"
    fi
    log=$PWD/distcomp-worker.$name.log
    { : >>"$log"; } 2>/dev/null || fault "cannot write its log, $log"
    before=$(wc -c <"$log")
    setsid "$program" "--name=$name" "$@" </dev/null >>"$log" 2>&1 &
    pid=$!
    answer "place $log"
    looks=0
    # Until it has ended, or its log says that there is nothing to see here; a slow one is awaited by whoever has called.
    while [ "$looks" -lt 25 ]; do
        sleep 0.2 2>/dev/null || sleep 1
        if ! kill -0 "$pid" 2>/dev/null; then
            wait "$pid"
            answer "ended $?"
            told
            return
        fi
        if tail -c "+$((before + 1))" "$log" | grep -q -e started -e 'waiting for Redis'; then return; fi
        looks=$((looks + 1))
    done
}
start "$@" </dev/null
exit
