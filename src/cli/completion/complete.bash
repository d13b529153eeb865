# Completion of DistComp for bash. It asks distcomp-ctl, which knows all flags and the queue.
_distcomp_complete() {
    local ctl=distcomp-ctl i line piece prefix rest
    # A program that is named by its path is asked about itself: there may be two versions on a machine.
    case $1 in */*) ctl=${1%/*}/distcomp-ctl ;; esac
    case $ctl in '~/'*) ctl=$HOME/${ctl#'~/'} ;; esac
    # Bash also splits words at "=" and ":". Here only blanks separate arguments.
    local -a answer=() words=()
    rest=${COMP_LINE:0:COMP_POINT}
    for ((i = 0; i <= COMP_CWORD; i++)); do
        piece=${COMP_WORDS[i]}
        if [[ $i -eq 0 || -z $rest || $rest == [[:space:]]* ]]; then
            words+=("")
        fi
        rest=${rest#"${rest%%[![:space:]]*}"}
        if ((i == COMP_CWORD)); then
            piece=$rest
        fi
        words[${#words[@]} - 1]+=$piece
        rest=${rest#"$piece"}
    done
    # The words go through a pipe: arguments are visible to every user of the machine, and there may be a password in a URL.
    mapfile -t answer < <(printf '%s\0' "${words[@]}" | "$ctl" __complete 2>/dev/null)
    COMPREPLY=()
    # Bash replaces only what follows the last "=" or ":".
    prefix=${words[${#words[@]} - 1]%"$2"}
    case ${answer[0]-} in
        words)
            for line in "${answer[@]:1}"; do
                line=${line%%$'\t'*}
                COMPREPLY+=("${line#"$prefix"}")
            done
            ;;
        files) compopt -o default ;;
        dirs) compopt -o dirnames ;;
        commands) mapfile -t COMPREPLY < <(compgen -c -- "$2" | sort -u) ;;
    esac
}
complete -F _distcomp_complete @PROGRAMS@
