use super::*;
use proptest::prelude::*;

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn list(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn filled(settings: &NeedSettings, values: &[&str]) -> Result<String, String> {
    let row = Row::of(7, values.iter().map(|value| some(value)).collect());
    NeedRecipe::parse(settings, &[]).fill(&row).map(|needs| needs.join(",")).map_err(|error| error.to_string())
}

#[test]
fn flags_become_sorted_needs() {
    let settings = NeedSettings {
        gpus: some("{1}"),
        resource: list(&["scratch_gb=200.50", "lic={#}"]),
        constraint: list(&["ssd & region=us|region=eu", "!spot"]),
        prefer: list(&["host={2}"]),
        time_request: some("1h30m"),
        ..NeedSettings::default()
    };
    let needs = "constraint=!spot,constraint=region=eu|region=us,constraint=ssd,gpus=0.5,lic=7,prefer=host=n1,scratch_gb=200.5,time=5400";
    assert_eq!(filled(&settings, &["0.5", "n1"]).as_deref(), Ok(needs));
    assert!(Needs::parse(needs).is_ok());
    let none = NeedSettings {
        gpus: some("0"),
        resource: list(&["lic=0.0"]),
        time_request: some("0"),
        ..NeedSettings::default()
    };
    assert_eq!(filled(&none, &[]).as_deref(), Ok(""), "nothing is needed");
}

#[test]
fn limits_are_needs_and_may_say_how_many() {
    let settings = NeedSettings { limit: list(&["net", "disk{1}=3/1", "net"]), ..NeedSettings::default() };
    assert_eq!(filled(&settings, &["2"]).as_deref(), Ok("limit=disk2,limit=net"));
    let row = Row::of(1, vec![some("2")]);
    let set = NeedRecipe::parse(&settings, &[]).limits(&row);
    assert_eq!(set, [("disk2".parse().expect("a name"), "3/1".parse().expect("a limit"))]);
    let recipe = NeedRecipe::parse(&NeedSettings { limit: list(&["net=1"]), ..NeedSettings::default() }, &[]);
    let line = recipe.add_to("shell,limit=disk:1:1:0:x", &Row::default()).expect("valid");
    assert_eq!(line.as_deref(), Some("shell,limit=disk,limit=net:1:1:0:x"), "a limit of its own is no reason");
}

#[test]
fn wrong_values_name_the_flag_and_what_is_valid() {
    let gpus = |text: &str| NeedSettings { gpus: some(text), ..NeedSettings::default() };
    let resource = |text: &str| NeedSettings { resource: list(&[text]), ..NeedSettings::default() };
    let constraint = |text: &str| NeedSettings { constraint: list(&[text]), ..NeedSettings::default() };
    for (settings, said) in [
        (gpus("x"), "--gpus is \"x\"; valid: a decimal number, 3 digits after the point at most"),
        (gpus("1,lic=2"), "--gpus is \"1,lic=2\"; valid: a decimal number, 3 digits after the point at most"),
        (gpus("1.5"), "--gpus is \"1.5\"; valid: a part of one (0.5), or whole ones"),
        (resource("lic"), "--resource is \"lic\"; valid: NAME=N, a name like lic"),
        (resource("time=5"), "--resource is \"time=5\"; valid: NAME=N, a name like lic"),
        (resource("Lic=5"), "--resource is \"Lic=5\"; valid: NAME=N, a name like lic"),
        (resource("gpus=2.5"), "--resource is \"gpus=2.5\"; valid: a part of one (0.5), or whole ones"),
        (resource("lic=1e3"), "--resource is \"lic=1e3\"; valid: a decimal number, 3 digits after the point at most"),
        (constraint(""), "--constraint is \"\"; valid: labels like ssd, region=eu or !spot, with &"),
        (constraint("ssd&"), "--constraint is \"ssd&\"; valid: labels like ssd"),
        (constraint("a,b"), "--constraint is \"a,b\"; valid: labels like ssd"),
        (constraint("a:b"), "--constraint is \"a:b\"; valid: labels like ssd"),
        (
            NeedSettings { limit: list(&["disk=-1"]), ..NeedSettings::default() },
            "--limit is \"disk=-1\"; valid: NAME, NAME=N or NAME=N/PER_NODE, a name like disk",
        ),
        (
            NeedSettings { time_request: some("soon"), ..NeedSettings::default() },
            "--time-request is \"soon\"; valid: seconds, or a duration like 90m or 1h30m",
        ),
    ] {
        let error = filled(&settings, &[]).expect_err(said);
        assert!(error.starts_with(said), "{error}");
        let faults = NeedRecipe::of_whole_lines(&settings).expect_err(said);
        assert_eq!(faults.len(), 1, "the same value in every row is found before the first");
    }
    assert!(NeedRecipe::of_whole_lines(&gpus("{2}")).is_err(), "a whole line has one column");
}

#[test]
fn whole_lines_get_only_what_they_lack() {
    let settings = NeedSettings {
        gpus: some("1"),
        constraint: list(&["ssd"]),
        time_request: some("60"),
        ..NeedSettings::default()
    };
    let recipe = NeedRecipe::of_whole_lines(&settings).expect("valid");
    for (line, made) in [
        ("shell:1:1:1:a:b", Some("shell,constraint=ssd,gpus=1,time=60:1:1:1:a:b")),
        ("shell,gpus=2,fpga=1:1:1:1:a", Some("shell,constraint=ssd,fpga=1,gpus=2,time=60:1:1:1:a")),
        ("shell,constraint=hdd,time=5,gpus=2:1:1:1:a", None),
    ] {
        assert_eq!(recipe.add_to(line, &Row::default()).expect("valid").as_deref(), made, "{line}");
    }
}

#[test]
fn inner_needs_outrank_outer_ones_by_name() {
    let outer = NeedSettings {
        gpus: some("1"),
        resource: list(&["lic=1", "fpga=1"]),
        constraint: list(&["ssd"]),
        ..NeedSettings::default()
    };
    let inner =
        NeedSettings { resource: list(&["gpus=2", "lic=3"]), constraint: list(&["hdd"]), ..NeedSettings::default() };
    assert_eq!(filled(&inner.clone().over(&outer), &[]).as_deref(), Ok("constraint=hdd,fpga=1,gpus=2,lic=3"));
    assert_eq!(filled(&outer.clone().over(&inner), &[]).as_deref(), Ok("constraint=ssd,fpga=1,gpus=1,lic=1"));
    assert_eq!(filled(&inner.after(&outer), &[]).as_deref(), Ok("constraint=hdd,constraint=ssd,fpga=1,gpus=2,lic=3"));
}

#[test]
fn what_must_come_first_adds_up() {
    let settings = NeedSettings {
        after: list(&["a/{#}, b", "b"]),
        after_any: list(&["c"]),
        begin: some("@61"),
        ..NeedSettings::default()
    };
    assert_eq!(filled(&settings, &[]).as_deref(), Ok("after=a/7,after=b,afterany=c,begin=120"));
    let outer = NeedSettings { after: list(&["z"]), begin: some("@1"), ..NeedSettings::default() };
    let both = "after=a/7,after=b,after=z,afterany=c,begin=120";
    assert_eq!(filled(&settings.clone().over(&outer), &[]).as_deref(), Ok(both));
    let recipe = NeedRecipe::of_whole_lines(&settings).expect("valid");
    let row = Row::of(7, Vec::new());
    let made = recipe.add_to("shell,after=b,after=own,begin=60:1:1:1:x", &row).expect("valid");
    assert_eq!(made.as_deref(), Some("shell,after=a/7,after=b,after=own,afterany=c,begin=60:1:1:1:x"));
    let wrong = NeedSettings { after: list(&["a,,b"]), begin: some("soon"), ..NeedSettings::default() };
    let faults: Vec<String> =
        NeedRecipe::of_whole_lines(&wrong).expect_err("two").iter().map(ToString::to_string).collect();
    assert_eq!(faults[0], "--after is \"a,,b\"; valid: a name like s1 or s1/prep of A-Z a-z 0-9 . _ -");
    assert!(faults[1].starts_with("--begin is \"soon\"; valid: a time of day like 22:00"), "{}", faults[1]);
}

fn any_terms() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("!?[a-z]{1,3}(=[a-z0-9.]{1,3})?([|&]!?[a-z]{1,3}){0,2}", 0..3)
}

proptest! {
    #[test]
    fn composed_needs_parse_back_to_what_was_said(
        gpus in prop_oneof![Just(None), (1..1000_u64).prop_map(Some), (1..9_u64).prop_map(|whole| Some(whole * 1000))],
        amounts in proptest::collection::btree_map("[h-k][a-z_./-]{0,9}", 1..9_999_999_u64, 0..4),
        (constraint, prefer) in (any_terms(), any_terms()), time in proptest::option::of(1..1_000_000_u64),
    ) {
        let settings = NeedSettings {
            gpus: gpus.map(show_milli),
            resource: amounts.iter().map(|(name, milli)| format!("{name}={}", show_milli(*milli))).collect(),
            constraint: constraint.clone(), prefer: prefer.clone(), time_request: time.map(|seconds| seconds.to_string()), ..NeedSettings::default()
        };
        let text = filled(&settings, &[]).expect("all is valid");
        let needs = if text.is_empty() { Needs::NONE } else { Needs::parse(&text).expect("what is composed is valid") };
        let amount = |name: &str| needs.resources().iter().find(|one| one.name.as_str() == name).map_or(0, |one| one.milli);
        prop_assert_eq!(amount("gpus"), gpus.unwrap_or(0));
        prop_assert_eq!(needs.resources().len(), amounts.len() + usize::from(gpus.is_some()));
        for (name, milli) in &amounts {
            prop_assert_eq!(amount(name), *milli);
        }
        let said = |texts: &[String]| {
            let mut all: Vec<Constraint> = texts.iter().flat_map(|text| text.split('&')).filter_map(Constraint::parse).collect();
            all.sort();
            all.dedup();
            all
        };
        prop_assert_eq!(needs.constraint(), said(&constraint));
        prop_assert_eq!(needs.prefer(), said(&prefer));
        prop_assert_eq!(needs.lifetime(), time);
    }
}
