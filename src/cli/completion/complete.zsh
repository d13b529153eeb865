#compdef @PROGRAMS@
# Completion of DistComp for zsh. It asks distcomp-ctl, which knows all flags and the queue.
_distcomp_complete() {
    local ctl=distcomp-ctl line tab=$'\t'
    local -a answer list
    # A program that is named by its path is asked about itself: there may be two versions on a machine.
    if [[ ${words[1]} == */* ]]; then
        ctl=${words[1]:h}/distcomp-ctl
        ctl=${ctl/#\~\//$HOME/}
    fi
    # The words go through a pipe: arguments are visible to every user of the machine, and there may be a password in a URL.
    answer=("${(@f)$(printf '%s\0' "${(@)words[1,CURRENT-1]}" "$PREFIX" | "$ctl" __complete 2>/dev/null)}")
    case ${answer[1]} in
        words)
            for line in "${(@)answer[2,-1]}"; do
                if [[ $line == *$tab* ]]; then
                    list+=("${${line%%$tab*}//:/\\:}:${line#*$tab}")
                else
                    list+=("${line//:/\\:}")
                fi
            done
            _describe -V value list
            ;;
        files)
            compset -P '--*='
            _files
            ;;
        dirs)
            compset -P '--*='
            _files -/
            ;;
        commands) _command_names -e ;;
    esac
}
# As a file in fpath it is the function itself; read into a shell, it registers that.
if [[ ${funcstack[1]} == (_distcomp|_distcomp-*) ]]; then
    _distcomp_complete "$@"
else
    compdef _distcomp_complete @PROGRAMS@
fi
