//! The alert rules fire when they should, and the Grafana dashboard is one. Both are checked by `promtool`.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("example/monitoring").join(name)
}

/// Runs promtool, and answers what it said; its absence is a failure, since nothing else checks what these files promise.
#[track_caller]
fn promtool(args: &[&str], file: &Path) -> Result<String, String> {
    let run = Command::new("promtool").args(args).arg(file).output();
    let run = run.unwrap_or_else(|error| {
        panic!("promtool is needed to check example/monitoring ({error}): apt-get install prometheus")
    });
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    if run.status.success() { Ok(said) } else { Err(said) }
}

#[test]
fn alerts_fire_when_they_should_and_not_otherwise() {
    promtool(&["check", "rules"], &example("rules.yml")).expect("rules");
    promtool(&["test", "rules"], &example("rules_test.yml")).expect("alerts");
    // Every alert is seen to fire, and seen to be quiet.
    let rules = fs::read_to_string(example("rules.yml")).expect("rules");
    let tests = fs::read_to_string(example("rules_test.yml")).expect("tests");
    for name in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname: {name}, exp_alerts: []")), "{name} is never seen to be quiet");
        let fires = tests.contains(&format!("alertname: {name}\n        exp_alerts:\n          - exp_labels"));
        assert!(fires, "{name} is never seen to fire");
    }
    // These tests can fail.
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("rules.yml"), rules.replace("> 86400", "> 86400000")).expect("a copy");
    fs::write(dir.path().join("rules_test.yml"), tests).expect("a copy");
    let said = promtool(&["test", "rules"], &dir.path().join("rules_test.yml")).expect_err("a wrong rule passes");
    assert!(said.contains("DistCompOldestWaiting"), "{said}");
}

#[test]
fn prometheus_takes_the_scrape_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["prometheus.yml", "rules.yml"] {
        fs::copy(example(name), dir.path().join(name)).expect("a copy");
    }
    fs::write(dir.path().join("dashboard-token"), "x").expect("a token");
    promtool(&["check", "config"], &dir.path().join("prometheus.yml")).expect("configuration");
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(example("grafana.json")).expect("a dashboard")).expect("JSON")
}

fn list<'a>(value: &'a Value, what: &str) -> &'a Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{what} is no list: {value}"))
}

/// Panels that draw something, not the headings between them.
fn drawn(dashboard: &Value) -> Vec<&Value> {
    list(&dashboard["panels"], "panels").iter().filter(|panel| panel["type"] != "row").collect()
}

/// All expressions, with Grafana's own variables replaced by what they may be.
fn expressions(dashboard: &Value) -> Vec<String> {
    let of_panels = drawn(dashboard).into_iter().flat_map(|panel| list(&panel["targets"], "targets"));
    let all = of_panels.chain(list(&dashboard["annotations"]["list"], "annotations"));
    all.map(|one| {
        let text = one["expr"].as_str().unwrap_or_else(|| panic!("no expression: {one}"));
        text.replace("$__rate_interval", "5m").replace("$queue", ".*").replace("$worker", ".*")
    })
    .collect()
}

#[test]
fn prometheus_takes_every_expression_of_the_dashboard() {
    let dir = tempfile::tempdir().expect("a directory");
    let rules = dir.path().join("expressions.yml");
    let all = expressions(&dashboard());
    assert!(all.len() > 25, "{all:?}");
    assert!(all.iter().all(|expression| !expression.contains('$')), "a variable that is not known: {all:?}");
    let record = |(at, text): (usize, &String)| format!("      - {{ record: 'r:{at}', expr: '{text}' }}\n");
    let listed: String = all.iter().enumerate().map(record).collect();
    fs::write(&rules, format!("groups:\n  - name: a\n    rules:\n{listed}")).expect("rules");
    promtool(&["check", "rules"], &rules).expect("every expression is one");
}

#[test]
fn dashboard_has_the_shape_that_grafana_expects() {
    let dashboard = dashboard();
    for (name, kind) in [("title", "a text"), ("uid", "a text"), ("refresh", "a text"), ("timezone", "a text")] {
        assert!(dashboard[name].is_string(), "{name} is not {kind}");
    }
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 36));
    assert!(dashboard["time"]["from"].is_string() && dashboard["time"]["to"].is_string());
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in list(&dashboard["panels"], "panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "an id that is there twice: {panel}");
        assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()), "{panel}");
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap_or_else(|| panic!("no {name}: {panel}"));
        let (x, y, width, height) = (at("x"), at("y"), at("w"), at("h"));
        assert!(width > 0 && height > 0 && x + width <= 24, "the grid has 24 columns: {panel}");
        for cell in (x..x + width).flat_map(|column| (y..y + height).map(move |row| (column, row))) {
            assert!(cells.insert(cell), "it lies over another one: {panel}");
        }
    }
    for panel in drawn(&dashboard) {
        let kind = panel["type"].as_str().unwrap_or_default();
        assert!(["stat", "timeseries", "bargauge", "heatmap", "gauge", "table"].contains(&kind), "{panel}");
        assert_eq!(panel["datasource"]["type"], "prometheus", "{panel}");
        assert!(panel["options"].is_object() && panel["fieldConfig"]["overrides"].is_array(), "{panel}");
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(defaults["unit"].is_string(), "{panel}");
        steps(&defaults["thresholds"]);
        let mut names = BTreeSet::new();
        for target in list(&panel["targets"], "targets") {
            assert!(names.insert(target["refId"].as_str().expect("a name")), "{panel}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
        }
        assert!(!names.is_empty(), "{panel}");
    }
    variables(&dashboard);
    for annotation in list(&dashboard["annotations"]["list"], "annotations") {
        for name in ["name", "iconColor", "expr", "titleFormat"] {
            assert!(annotation[name].is_string(), "{name}: {annotation}");
        }
        assert!(annotation["enable"].is_boolean() && annotation["datasource"].is_object(), "{annotation}");
    }
    let text = dashboard.to_string();
    for wanted in ["topk(", "\"thresholds\"", "histogram_quantile(", "distcomp_queue_workers_died_total"] {
        assert!(text.contains(wanted), "{wanted}");
    }
}

/// The first step begins at minus infinity, which is null; the others grow.
#[track_caller]
fn steps(thresholds: &Value) {
    if thresholds.is_null() {
        return;
    }
    assert_eq!(thresholds["mode"], "absolute", "{thresholds}");
    let values: Vec<&Value> = list(&thresholds["steps"], "steps").iter().map(|step| &step["value"]).collect();
    assert!(values.first().is_some_and(|first| first.is_null()), "{thresholds}");
    let numbers: Vec<f64> = values.iter().skip(1).filter_map(|value| value.as_f64()).collect();
    assert!(numbers.len() + 1 == values.len() && numbers.is_sorted(), "{thresholds}");
}

#[track_caller]
fn variables(dashboard: &Value) {
    let all = list(&dashboard["templating"]["list"], "variables");
    let names: BTreeSet<&str> = all.iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(names, BTreeSet::from(["datasource", "queue", "worker"]));
    for variable in all.iter().filter(|one| one["type"] == "query") {
        assert!(
            variable["query"]["query"].as_str().is_some_and(|query| query.starts_with("label_values(")),
            "{variable}"
        );
        assert!(variable["multi"] == true && variable["includeAll"] == true, "{variable}");
        assert!(variable["refresh"].as_u64().is_some_and(|when| (1..=2).contains(&when)), "{variable}");
        assert_eq!(variable["datasource"]["uid"], "${datasource}", "{variable}");
    }
}
