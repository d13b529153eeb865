getent passwd distcomp >/dev/null ||
    useradd --system --user-group --home-dir /srv/distcomp --no-create-home --shell /sbin/nologin distcomp
