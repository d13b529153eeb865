//! The default and the bounds of each key, and which other keys it requires.

use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::fixture::{Conf, data};
use crate::config::{Confine, KEYS, Prefetch, ResourceDef, ResourceDefs};
use crate::model::{Bytes, FieldOrder, MilliCores};

#[test]
fn an_empty_file_gives_every_default() {
    let conf = Conf::new();
    let loaded = conf.load(&json!({})).expect("it loads");
    let config = &loaded.config;
    assert_eq!(loaded.warnings, [""; 0]);
    assert_eq!(config.min_dram_accept, Bytes(2 << 30));
    assert_eq!(config.min_dram_trigger, Bytes(1 << 30));
    assert_eq!((config.max_tasks, config.max_retry, config.max_lost), (32, 4, 3));
    assert_eq!(config.default_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(config.timeout_check_interval, Duration::from_secs(30));
    assert_eq!(config.kill_grace, Duration::from_secs(5));
    assert_eq!(config.poll_interval, Duration::from_secs(2));
    assert_eq!(config.min_between_starts, Duration::ZERO);
    assert!(config.auto_sleep && config.pipeline_batching);
    assert_eq!(config.prefetch, Prefetch::Auto);
    assert_eq!(config.heartbeat_interval, Duration::from_secs(2));
    assert_eq!(config.dead_after, Duration::from_secs(40));
    assert_eq!(config.min_free_cores, MilliCores::ZERO);
    assert_eq!(config.drain_timeout, Duration::from_secs(300));
    assert_eq!(config.retry_backoff, Duration::ZERO);
    assert_eq!((config.retry_memory_factor, config.retry_memory_max), (2000, None));
    assert_eq!(config.result_dir, Path::new("./distcomp-results"));
    assert_eq!(config.state_dir, conf.dir.path().join(".local/state/distcomp"));
    assert_eq!(config.task_shell, Path::new("/bin/sh"));
    assert_eq!(config.max_inline_output, 1_048_576);
    assert_eq!(config.confine, Confine { oom_score_adj: 500, ..Confine::default() });
    assert_eq!(config.resources, ResourceDefs::from([("gpus".into(), ResourceDef::Auto)]));
    assert!(config.labels.is_empty() && !config.hide_gpus && !config.pin_cpus);
    assert_eq!(
        (config.scratch_dir.as_deref(), config.prefer_wait, config.time_limit),
        (None, Duration::from_secs(30), None)
    );
    assert_eq!(config.field_order, None);
    assert_eq!(config.redis.to_string(), "redis://localhost:6379/0");
    assert!(config.redis.password.is_none() && config.redis.user.is_none() && config.redis.tls.is_none());
    assert_eq!(config.key_prefix, "");
    assert!(!config.require_signed_tasks && !config.python_workers);
    assert!(config.task_public_keys.is_empty() && config.task_signing_key.is_none());
}

#[rstest]
#[case("min_dram_gb_accept_new_task", json!(0))]
#[case("min_dram_gb_accept_new_task", json!(1))]
#[case("min_dram_gb_trigger_return", json!("x"))]
#[case("min_dram_gb_trigger_return", json!(-1))]
#[case("min_dram_gb_trigger_return", json!(2))]
#[case("min_dram_gb_trigger_return", json!(1e300))]
#[case("max_task_per_worker", json!(0))]
#[case("max_task_per_worker", json!(1_000_001))]
#[case("max_task_per_worker", json!(null))]
#[case("max_retry_per_task", json!(-1))]
#[case("max_retry_per_task", json!("99999999999999999999"))]
#[case("default_task_timeout_seconds", json!("inf"))]
#[case("task_timeout_check_interval", json!(0))]
#[case("task_kill_grace_seconds", json!([]))]
#[case("sleep_sec_between_accepting_task", json!("NaN"))]
#[case("min_seconds_between_starts", json!(-1))]
#[case("auto_sleep_sec", json!("maybe"))]
#[case("redis_pipeline_batching", json!(1))]
#[case("task_prefetch", json!("many"))]
#[case("task_prefetch", json!(-1))]
#[case("health_report_interval", json!(0))]
#[case("worker_dead_after_seconds", json!(6))]
#[case("min_free_cpu_cores", json!(-0.1))]
#[case("drain_timeout_seconds", json!(4e9))]
#[case("retry_backoff_seconds", json!({}))]
#[case("retry_memory_factor", json!(0.5))]
#[case("retry_memory_max_gb", json!(0))]
#[case("result_dir", json!(""))]
#[case("result_dir", json!(7))]
#[case("state_dir", json!("a\0b"))]
#[case("task_shell", json!("sh"))]
#[case("max_inline_output_bytes", json!(1u64 << 40))]
#[case("run_as_user", json!("root"))]
#[case("no_new_privs", json!(1))]
#[case("task_rlimits", json!({"cores": 0}))]
#[case("nice", json!(-1))]
#[case("oom_score_adj", json!(1001))]
#[case("umask", json!(22))]
#[case("enforce_memory", json!("sometimes"))]
#[case("resources", json!([]))]
#[case("labels", json!(["a b"]))]
#[case("labels", json!(["region=eu", "region=us"]))]
#[case("hide_gpus", json!(1))]
#[case("pin_cpus", json!("some"))]
#[case("scratch_dir", json!(7))]
#[case("prefer_wait_seconds", json!(-1))]
#[case("time_limit_seconds", json!("1h"))]
#[case("idle_timeout_seconds", json!("5m"))]
#[case("task_field_order", json!("cpu:mem:prio"))]
#[case("task_field_order", json!(1))]
#[case("redis_host", json!("a b"))]
#[case("redis_port", json!(0))]
#[case("redis_port", json!(65_536))]
#[case("redis_db", json!(-1))]
#[case("redis_pass", json!(["hunter2"]))]
#[case("redis_user", json!(5))]
#[case("redis_pass_file", json!("/nowhere/at/all"))]
#[case("redis_url", json!("http://:hunter2@x"))]
#[case("redis_tls", json!("yes"))]
#[case("redis_key_prefix", json!(3))]
#[case("require_signed_tasks", json!("perhaps"))]
#[case("task_public_keys", json!(true))]
#[case("task_signing_key", json!([1]))]
#[case("max_lost_per_task", json!(1.5))]
#[case("suspect_after", json!(-1))]
#[case("python_workers", json!(null))]
fn a_bad_value_is_reported_with_its_key_and_what_is_valid(#[case] key: &str, #[case] value: Value) {
    let conf = Conf::new();
    let errors = conf.load(&json!({ key: value })).expect_err("it is refused");
    assert_eq!(errors.faults.len(), 1, "{errors}");
    let fault = &errors.faults[0];
    assert!(fault.key == key || key == "min_dram_gb_accept_new_task", "{errors}");
    assert!(!fault.found.is_empty() && !fault.problem.is_empty() && !fault.valid.is_empty(), "{errors}");
    let text = errors.to_string();
    assert!(text.starts_with(&format!("{}: {}: found ", conf.path().display(), fault.key)), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn every_key_has_a_bad_value_in_the_table_above() {
    let table = include_str!("keys.rs");
    for key in KEYS {
        assert!(table.contains(&format!("#[case(\"{key}\", ")), "{key}");
    }
}

#[test]
fn every_key_is_in_the_manual() {
    let manual = fs::read_to_string(data("docs/conf.md")).expect("it is there");
    let missing: Vec<_> = KEYS.iter().filter(|key| !manual.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn zero_means_no_timeout_and_no_prefetch() {
    let conf = Conf::new();
    let loaded = conf.load(&json!({"default_task_timeout_seconds": 0, "task_prefetch": "0"})).expect("it loads");
    assert_eq!(loaded.config.default_timeout, None);
    assert_eq!(loaded.config.prefetch, Prefetch::Fixed(0));
}

#[test]
fn dead_after_follows_the_heartbeat() {
    let conf = Conf::new();
    let loaded = conf.load(&json!({"health_report_interval": 0.5})).expect("it loads");
    assert_eq!(loaded.config.dead_after, Duration::from_secs(10));
    assert!(conf.load(&json!({"health_report_interval": 0.5, "worker_dead_after_seconds": 1.5})).is_err());
    assert!(conf.load(&json!({"health_report_interval": 0.5, "worker_dead_after_seconds": 1.6})).is_ok());
}

#[test]
fn python_workers_need_their_order_and_no_prefix() {
    let conf = Conf::new();
    let errors = conf.load(&json!({"python_workers": true, "redis_key_prefix": "a:"})).expect_err("it is refused");
    let keys: Vec<_> = errors.faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["task_field_order", "redis_key_prefix"]);
    let loaded = conf.load(&json!({"python_workers": true, "task_field_order": "prio:mem:cpu"})).expect("it loads");
    assert_eq!(loaded.config.field_order, Some(FieldOrder::PrioMemCpu));
}

#[test]
fn required_signatures_need_a_key() {
    let conf = Conf::new();
    assert!(conf.load(&json!({"require_signed_tasks": true})).is_err());
    let key = conf.dir.path().join("k.pub");
    fs::write(&key, "k").expect("written");
    let loaded = conf.load(&json!({"require_signed_tasks": true, "task_public_keys": [key]})).expect("it loads");
    assert_eq!(loaded.config.task_public_keys, std::slice::from_ref(&key));
    let mixed = json!({"require_signed_tasks": true, "task_public_keys": [key], "python_workers": true, "task_field_order": "prio:mem:cpu"});
    let warnings = conf.load(&mixed).expect("it loads").warnings;
    assert!(warnings.iter().any(|warning| warning.contains("Python workers")), "{warnings:?}");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[-+0-9.eE]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::hash_map("[a-z_]{1,4}", inner, 0..3).prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #[test]
    fn no_value_of_any_key_makes_it_panic(
        values in prop::collection::hash_map(prop::sample::select(KEYS), any_json(), 0..8),
    ) {
        let conf = Conf::new();
        match conf.load(&Value::from_iter(values)) {
            Ok(loaded) => prop_assert!(loaded.config.min_dram_trigger < loaded.config.min_dram_accept),
            Err(errors) => {
                let text = errors.to_string();
                prop_assert_eq!(text.lines().count(), errors.faults.len() + errors.warnings.len());
                prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", text);
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}") {
        let _ = Conf::new().load_text(&text);
    }
}
