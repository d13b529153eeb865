# Completion of DistComp for fish. It asks distcomp-ctl, which knows all flags and the queue.
function __distcomp_complete
    set -l typed (commandline -opc)
    set -l token (commandline -ct)
    set -l ctl distcomp-ctl
    # A program that is named by its path is asked about itself: there may be two versions on a machine.
    if string match -q '*/*' -- $typed[1]
        set ctl (string replace -r '[^/]*$' distcomp-ctl -- $typed[1] | string replace -r '^~/' "$HOME/")
    end
    # The words go through a pipe: arguments are visible to every user of the machine, and there may be a password in a URL.
    set -l answer (printf '%s\0' $typed "$token" | $ctl __complete 2>/dev/null)
    set -l prefix (string match -r '^--[^=]*=' -- $token)
    set -l path (string replace -r '^--[^=]*=' '' -- $token)
    switch "$answer[1]"
        case words
            printf '%s\n' $answer[2..-1]
        case files
            for found in (__fish_complete_path "$path")
                printf '%s\n' "$prefix$found"
            end
        case dirs
            for found in (__fish_complete_directories "$path" '')
                printf '%s\n' "$prefix$found"
            end
        case commands
            __fish_complete_command
    end
end
