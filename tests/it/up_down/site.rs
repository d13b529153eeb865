//! Two hosts with an `sshd` each, in network namespaces of their own, and the machine of whoever starts workers on them.
use std::fs;
use std::process::{Child, Command, Stdio};

use nix::unistd::{User, geteuid};

use crate::support::{Bed, Cli, SOON, bin, holds_for, read, wait_until};

/// The namespaces: one for the machine of the user, and one for each host, with a wire to it, a name, and keys made for this test. A namespace of process
/// ids around all of them, so that whatever was started there ends with them.
const SCRIPT: &str = r#"
set -e
ip link set lo up
mount -t tmpfs none /run
mkdir -p /run/sshd
for n in 1 2; do
    unshare --net --uts sh -c '
        set -e
        hostname "node$1"
        until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
        ip link set lo up
        ip addr add "10.77.$1.2/24" dev eth0
        ip link set eth0 up
        exec $3 /usr/sbin/sshd -D -E "$2/sshd$1.log" -f "$2/sshd$1.conf"
    ' sh $n "$1" "$2" &
    # Before it has a namespace of its own, its end of the wire would stay here.
    until [ "$(readlink /proc/$!/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
    ip link add "wire$n" type veth peer name eth0 netns $!
    ip addr add "10.77.$n.1/24" dev "wire$n"
    ip link set "wire$n" up
done
exec sleep infinity
"#;

/// See the module; dropped, everything in it is gone.
pub(super) struct Site {
    child: Child,
    ssh: String,
    pub(super) user: String,
}

impl Site {
    pub(super) fn start(bed: &Bed) -> Self {
        let dir = bed.path().join("ssh");
        fs::create_dir(&dir).expect("a directory");
        let at = |name: &str| dir.join(name).display().to_string();
        for key in ["user", "host"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]).status();
            assert!(made.expect("ssh-keygen, of openssh-client").success());
        }
        for n in 1..3 {
            let conf = format!(
                "Port 2222\nListenAddress 10.77.{n}.2\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
                 PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n",
                at("host"),
                at("user.pub")
            );
            fs::write(at(&format!("sshd{n}.conf")), conf).expect("sshd.conf");
        }
        let host_key = read(at("host.pub"));
        let known: String = (1..3).map(|n| format!("[10.77.{n}.2]:2222 {host_key}")).collect();
        fs::write(at("known_hosts"), known).expect("known_hosts");
        let uid = geteuid();
        let user = User::from_uid(uid).ok().flatten().expect("an account of the tester").name;
        let conf = format!(
            "User {user}\nUserKnownHostsFile {}\nIdentityFile {}\nIdentitiesOnly yes\n",
            at("known_hosts"),
            at("user")
        );
        fs::write(at("ssh_config"), conf).expect("ssh_config");
        let mut command = Command::new("unshare");
        let mut through = String::new();
        if !uid.is_root() {
            command.arg("--map-root-user");
            // An sshd that is not root lets in its own user alone.
            through = format!("unshare --user --map-user={uid} --map-group={}", nix::unistd::getegid());
        }
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", SCRIPT, "sh"]);
        command.arg(&dir).arg(through).stdin(Stdio::null());
        let child = command.spawn().expect("unshare, of util-linux");
        let site = Self { child, ssh: format!("ssh -F {}", at("ssh_config")), user };
        let logs = || [1, 2].map(|n| read(at(&format!("sshd{n}.log"))));
        wait_until(
            "two sshd to listen (this needs openssh-server, iproute2, and root or user namespaces)",
            SOON,
            || holds_for(logs().iter().all(|log| log.contains("Server listening")), logs().join("\n")),
        );
        site
    }

    /// `distcomp-ctl` on the machine of the user.
    pub(super) fn ctl(&self, bed: &Bed, args: &[&str]) -> Cli {
        // The child of `unshare` is in the namespace, and is the one that the hosts hang on.
        let children = read(format!("/proc/{0}/task/{0}/children", self.child.id()));
        let pid = children.split_whitespace().next().expect("its child").to_owned();
        let mut enter = vec!["-t", &pid, "--net"];
        if !geteuid().is_root() {
            enter.extend(["--user", "--preserve-credentials"]);
        }
        let conf = bed.conf_path().display().to_string();
        let cli = Cli::new("nsenter").args(enter).args([bin("distcomp-ctl"), "--config", &conf]).args(args);
        cli.dir(bed.path()).env("DISTCOMP_SSH", &self.ssh)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
