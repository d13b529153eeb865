use super::*;
use proptest::prelude::*;

#[test]
fn needs_that_mean_the_same_have_one_name() {
    for (needs, name) in [
        ("gpus=1", "gpus=1000"),
        ("gpus=0.5,constraint=b|!a", "constraint=!a;b,gpus=500"),
        ("constraint=!a|b,gpus=0.50", "constraint=!a;b,gpus=500"),
        ("constraint=b,constraint=a,constraint=b", "constraint=a,constraint=b"),
        ("time=60,prefer=ssd,scratch_gb=200", "prefer=ssd,scratch_gb=200000,time=60"),
        ("gpus=0", ""),
        ("learn=sim,gpus=1", "gpus=1000,learn=sim"),
        ("limit=net,mem=1,limit=disk,limit=net", "limit=disk,limit=net,mem=1000"),
        ("after=s1/b,gpus=1,after=s1/a,afterany=x,begin=9", "after,gpus=1000"),
    ] {
        assert_eq!(Needs::parse(needs).expect(needs).as_str(), name, "{needs}");
    }
    assert_eq!(show_class_needs("constraint=!a;b,gpus=500,time=60"), "constraint=!a|b, gpus=0.5, time=60");
}

#[test]
fn needs_of_a_line_are_an_object_for_programs() {
    let json = |line: &str| serde_json::to_string(&Needs::of_line(line)).expect("JSON");
    assert_eq!(
        json("shell,gpus=2,lic=0.5,constraint=ssd|nvme,prefer=!spot,time=60:1:1:1:x"),
        r#"{"gpus":2,"lic":0.5,"constraint":["nvme|ssd"],"prefer":["!spot"],"time":60}"#
    );
    assert_eq!(json("shell,limit=net,limit=disk:1:1:0:x"), r#"{"limit":["disk","net"]}"#);
    for line in ["shell:1:1:1:a,b=1", "shell,gpus=0:1:1:1:x", "shell,gpus=x:1:1:1:x", "no task, at=all", ""] {
        assert!(Needs::of_line(line).is_empty(), "{line}");
    }
}

#[test]
fn wrong_needs_say_what_is_right() {
    for (needs, said) in [
        ("gpus=x", "gpus is \"x\"; valid: a decimal number, 3 digits after the point at most"),
        ("lic=9007199254741", "lic is \"9007199254741\"; valid: a number below 9007199254740"),
        ("gpus=0.1234", "gpus is \"0.1234\"; valid: a decimal number, 3 digits after the point at most"),
        ("gpus=1.5", "gpus is \"1.5\"; valid: a part of one (0.5), or whole ones"),
        ("gpus=1,gpus=2", "gpus is given twice"),
        ("time=1,time=1", "time is given twice"),
        ("gpus", "a need is \"gpus\"; valid: KEY=VALUE"),
        ("", "a need is \"\"; valid: KEY=VALUE"),
        ("=1", "a need is \"=1\"; valid: KEY=VALUE"),
        ("gpus=1,", "a need is \"\"; valid: KEY=VALUE"),
        ("GPUS=1", "the key of a need is \"GPUS\"; valid: a lower-case letter, then at most 31 of a-z 0-9 _ . / -"),
        ("gpus=-1", "gpus is \"-1\"; valid: a decimal number, 3 digits after the point at most"),
        ("after=a b", "after is \"a b\"; valid: a name like s1 or s1/prep of A-Z a-z 0-9 . _ -"),
        ("begin=1,begin=2", "begin is given twice"),
        ("begin=now", "begin is \"now\"; valid: seconds since the epoch, a whole number below 1099511627776"),
        (
            "begin=1099511627776",
            "begin is \"1099511627776\"; valid: seconds since the epoch, a whole number below 1099511627776",
        ),
        ("after=,", "after is \"\"; valid: a name like s1 or s1/prep of A-Z a-z 0-9 . _ -"),
        ("afterany=", "afterany is \"\"; valid: a name like s1 or s1/prep of A-Z a-z 0-9 . _ -"),
        (
            "after=a/b/c/d/e",
            "after is \"a/b/c/d/e\"; valid: at most 4 parts of at most 64 characters each, like s1/prep",
        ),
        ("gpus=", "gpus is \"\"; valid: 1 to 128 bytes without blanks, colons and control characters"),
        ("time=1m", "time is \"1m\"; valid: a whole number of seconds"),
        ("learn=a/b", "learn is \"a/b\"; valid: a name of at most 64 of A-Z a-z 0-9 . _ -"),
        (
            "limit=Disk",
            "limit is \"Disk\"; valid: a name like disk: a lower-case letter, then at most 31 of a-z 0-9 _ . / -",
        ),
    ] {
        assert_eq!(Needs::parse(needs).expect_err(needs).to_string(), said);
    }
    let many = |count: usize| (0..count).map(|at| format!("r{at}=1")).collect::<Vec<_>>().join(",");
    assert!(Needs::parse(&many(64)).is_ok());
    assert_eq!(Needs::parse(&many(65)), Err(NeedError::TooMany { found: 65, bytes: many(65).len() }));
}

proptest! {
    #[test]
    fn parsing_needs_never_panics(text in ".{0,60}") {
        let _ = Needs::parse(&text);
    }

    #[test]
    fn thousandths_read_back(milli in 0..1_u64 << 50) {
        prop_assert_eq!(parse_milli(&show_milli(milli)), Some(milli));
    }
}
