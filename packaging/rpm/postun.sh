# The state directory stays: it can hold results that Redis has not accepted yet.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
fi
