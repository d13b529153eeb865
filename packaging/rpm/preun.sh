# 0: the last version goes. An upgrade leaves the running worker alone.
if [ "$1" -eq 0 ] && [ -d /run/systemd/system ]; then
    systemctl --no-reload disable --now distcomp-worker || :
fi
