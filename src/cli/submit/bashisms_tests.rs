use super::*;

#[test]
fn what_only_bash_understands_is_found() {
    for (command, found) in [
        ("[[ -f a ]] && b", "[["),
        ("diff <(a) <(b)", "<("),
        ("a | tee >(b)", ">("),
        ("source env.sh; run", "source"),
        ("cd x && source env.sh", "source"),
        ("if true; then source env.sh; fi", "source"),
        ("run &> log", "&>"),
        ("for i in {1..9}; do echo $i; done", "{N..M}"),
        ("echo {01..10..2}", "{N..M}"),
        ("echo $RANDOM", "$RANDOM"),
        ("echo \"$RANDOM\"", "$RANDOM"),
        ("function f { :; }; f", "function"),
        ("cat <<< abc", "<<<"),
        ("a=(1 2 3); run", "an array"),
        ("run |& tee log", "|&"),
        ("set -euo pipefail; run", "pipefail"),
    ] {
        assert_eq!(find(command), Some(found), "{command}");
    }
}

/// What dash takes for something else, and ends with 0.
#[test]
fn what_sh_does_otherwise_without_a_word_is_found() {
    for (command, found) in [
        ("cat out.{a,b}.csv", "{a,b}"),
        ("mkdir -p out/{x,y}/z", "{a,b}"),
        ("cp trace{1,2}.bin d/", "{a,b}"),
        ("ls {a,{b,c}}", "{a,b}"),
        ("rm --exclude={x,y} d", "{a,b}"),
        ("echo -e 'a\\tb' > f", "echo -e"),
        ("cd d; echo -ne x", "echo -e"),
        ("while read l; do echo -n -e x; done", "echo -e"),
        ("[ a == b ] && run", "[ a == b ]"),
        ("if [ \"$x\" == 1 ]; then run; fi", "[ a == b ]"),
        ("test $x == 1 || run", "[ a == b ]"),
        ("((i++)); run", "(("),
        ("if ((x > 3)); then run; fi", "(("),
        ("for ((i=0; i<3; i++)); do run; done", "for (("),
        ("let x=1+2; run $x", "let"),
        ("./sim --host $HOSTNAME", "$HOSTNAME"),
        ("./sim > \"out.${HOSTNAME}\"", "$HOSTNAME"),
        ("mkdir /tmp/$UID", "$UID"),
        ("echo ${EUID}", "$EUID"),
        ("x=$(< f); run $x", "$(< FILE)"),
        ("echo $\"text\"", "$\""),
        ("x=a; x+=b; run $x", "+="),
        ("echo ${f/.txt/.csv}", "${NAME/A/B}, ${NAME^} or ${NAME[N]}"),
        ("echo \"${f:0:3}\"", "${NAME:N}"),
        ("echo ${!f}", "${!NAME}"),
        ("read -a words < f", "an option of read"),
        ("printf -v x %s y", "printf -v"),
        ("run & wait -n", "wait -n"),
        ("echo $(let a=1)", "let"),
        ("python -c \"print('$HOSTNAME')\"", "$HOSTNAME"),
    ] {
        assert_eq!(find(command), Some(found), "{command}");
    }
}

#[test]
fn plain_commands_are_left_alone() {
    for command in [
        "./cachesim trace.bin 64",
        "[ -f a ] && b > log 2>&1",
        "[ a = b ] || run",
        "echo '[[ a ]] <(b) $RANDOM'",
        "echo \"a &> b {1..3} {a,b}\"",
        "./open-source run",
        "data-source list",
        "echo ${a%..} ${b:-x} ${c##*/} ${#d} ${e:+y}",
        "x=$((1 + 2)); (cd y; run) & wait",
        "echo a \\&\\> b \\{a,b\\}",
        "run # <(x) {a,b}",
        "awk '{print $1}' f",
        "awk '{print $1,$2}' f",
        "awk -F, '$1 == \"a\" {n[$2]++; print $UID}' f",
        "echo $RANDOMSEED $HOSTNAMES $UIDX",
        "grep source file",
        "python -c \"x = {1, 2}; print(x == y)\"",
        "python3 -c 'import sys; print(f\"{a,b}\", a == b)'",
        "bash -c 'echo {a,b} $HOSTNAME; [[ a == b ]]; ((i++))'",
        "ssh n1 'echo $HOSTNAME'",
        "find . -name '*.{c,h}' -exec ls {} \\;",
        "find . -exec ls {} +",
        "xargs -I{} cp {} d",
        "grep -E a{1,3} f",
        "sed -E s/a{2,}/b/ f",
        "curl http://h/{a,b}",
        "git show stash@{0}",
        "docker ps --format {{.ID}},{{.Names}}",
        "./run --cfg={\"a\":1,\"b\":2}",
        "x={a,b}; echo $x",
        "((cd a; run) | tee b)",
        "( (cd a; run) )",
        "echo -n x; echo - e; echo x -e",
        "echo '-e' is an option",
        "./sim == x",
        "case $x in a) run;; b) stop;; esac",
        "HOSTNAME=$(hostname); echo $HOSTNAME",
        "echo ${HOSTNAME:-none}",
        "UID=5 sh -c 'echo x'; export UID; echo $UID",
        "read -r line < f; printf '%s' -v",
        "let",
        "./let x=1",
        "echo let x",
        "echo `date` source x",
        "echo $(date) source x",
        "a=1 b=2 run c+=d",
        "time ./sim | tee out",
        "sleep 1 && echo done",
        "set -eu; run",
        "f() { run; }; f",
        "cat <<EOF",
        "echo 'it'\"'\"'s {a,b}'",
        "echo \"cost: $\"",
    ] {
        assert_eq!(find(command), None, "{command}");
    }
}

#[test]
fn bash_itself_is_not_warned_of() {
    assert!(is_plain_shell(Path::new("/bin/sh")));
    assert!(!is_plain_shell(Path::new("/bin/bash")));
}

proptest::proptest! {
    #[test]
    fn no_command_breaks_the_search(command in "[ -~]{0,60}|(\\PC|[{}()$'\"`\\\\<>&|;# =+-]){0,40}") {
        let _ = find(&command);
    }

    /// A text in single quotes is no part of the shell's language.
    #[test]
    fn what_is_quoted_is_left_alone(text in "[ -&(-~]{0,60}") {
        proptest::prop_assert_eq!(find(&format!("./run '{text}'")), None);
    }
}
