//! `example/kubernetes`: what the manifests name exists, fits together and works. `tests/kubernetes.sh` checks the chart from which they are made, and
//! the schemas.
mod keda;
mod manifests;
mod wired;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use self::manifests::{conf_of, find, place, resources, texts, yaml};
use crate::support::{Bed, Cli, Dashboard, SOON, bin, holds_for, wait_until};

fn help(words: &[String]) -> String {
    Cli::new(bin(&words[0])).args(&words[1..]).args(["--help"]).run().expect(0).stdout
}

#[test]
fn what_the_manifests_start_has_these_flags() {
    let mut known = BTreeMap::new();
    let (mut pods, mut flags) = (0, 0);
    for resource in resources() {
        let Some(pod) = resource.pod() else { continue };
        pods += 1;
        for container in pod["containers"].as_array().expect("containers") {
            assert_eq!(container["image"], concat!("distcomp:", env!("CARGO_PKG_VERSION")), "{}", resource.file);
            let command = texts(&container["command"]);
            let said = known.entry(command.clone()).or_insert_with(|| help(&command));
            for arg in texts(&container["args"]) {
                let flag = arg.split('=').next().expect("a flag");
                assert!(flag.starts_with("--") && said.contains(flag), "{}: {command:?} has no {arg}", resource.file);
                flags += 1;
            }
            for variable in container["env"].as_array().expect("variables") {
                let name = variable["name"].as_str().expect("a name");
                assert!(!name.starts_with("DISTCOMP_") || said.contains(name), "{}: {name}", resource.file);
            }
        }
    }
    assert!(pods == 4 && flags > 15, "{pods} pods with {flags} flags");
}

#[test]
fn a_pod_is_restricted_and_has_all_that_it_mounts() {
    for resource in resources() {
        let (Some(pod), file) = (resource.pod(), resource.file) else { continue };
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{file}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{file}");
        let volumes: BTreeSet<&str> =
            pod["volumes"].as_array().expect("volumes").iter().filter_map(|one| one["name"].as_str()).collect();
        for volume in pod["volumes"].as_array().expect("volumes") {
            if let Some(name) = volume["configMap"]["name"].as_str() {
                find("ConfigMap", name);
            }
            if volume["secret"].is_object() {
                // Without it the file would be readable for all, and with 0400 for root alone.
                assert_eq!(volume["secret"]["defaultMode"], 0o440, "{file}: {volume}");
            }
        }
        for container in pod["containers"].as_array().expect("containers") {
            let security = &container["securityContext"];
            assert_eq!(security["readOnlyRootFilesystem"], true, "{file}");
            assert_eq!(security["allowPrivilegeEscalation"], false, "{file}");
            assert_eq!(security["capabilities"]["drop"][0], "ALL", "{file}");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{file}");
            let mounts = container["volumeMounts"].as_array().expect("mounts");
            let mounted: BTreeSet<&str> = mounts.iter().filter_map(|mount| mount["name"].as_str()).collect();
            assert_eq!(mounted, volumes, "{file}");
            let writable = |path: &str| {
                mounts.iter().any(|mount| {
                    let at = mount["mountPath"].as_str().expect("a path");
                    path.starts_with(at) && mount["readOnly"] != true
                })
            };
            assert!(writable(container["workingDir"].as_str().expect("a directory")), "{file}");
            if container["name"] == "worker" {
                let conf = conf_of("-worker");
                for key in ["state_dir", "result_dir"] {
                    assert!(writable(conf[key].as_str().expect(key)), "{file}: {key}");
                }
                assert!(writable("/tmp"), "{file}");
            }
            for probe in ["livenessProbe", "readinessProbe"] {
                let port = &container[probe]["httpGet"]["port"];
                let ports = container["ports"].as_array().expect("ports");
                assert!(ports.iter().any(|one| one["name"] == *port), "{file}: {probe}");
            }
        }
    }
}

#[test]
fn grace_of_a_pod_is_longer_than_the_drain() {
    let conf = conf_of("-worker");
    let drain = conf["drain_timeout_seconds"].as_u64().expect("drain_timeout_seconds");
    // The default of task_kill_grace_seconds, which the file does not set.
    assert!(conf.get("task_kill_grace_seconds").is_none());
    let mut seen = 0;
    for resource in resources() {
        let Some(pod) = resource.pod().filter(|pod| pod["containers"][0]["name"] == "worker") else { continue };
        let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a grace period");
        assert!(grace >= drain + 5 + 30, "{}: {grace} s for a drain of {drain} s", resource.file);
        seen += 1;
    }
    assert_eq!(seen, 3);
}

#[test]
fn the_shape_is_asked_for_offered_and_fits_its_pod() {
    let job = find("ScaledJob", "-worker");
    let trigger = &job["spec"]["triggers"][0]["metadata"];
    let url = trigger["url"].as_str().expect("an address");
    let (address, shape) = url.split_once('?').expect("a query");
    let service = find("Service", "-serve");
    let named =
        format!("http://{}.distcomp.svc:8080/api/v1/wanted", service["metadata"]["name"].as_str().expect("a name"));
    assert_eq!(address, named);
    let serve = find("Deployment", "-serve");
    let args = texts(&serve["spec"]["template"]["spec"]["containers"][0]["args"]);
    assert!(args.contains(&format!("--shape={shape}")), "{args:?}");
    let host = address.split("://").nth(1).and_then(|rest| rest.split(':').next()).expect("a host");
    assert!(args.contains(&format!("--allowed-host={host}")), "{args:?}");
    // What the tasks can have is what the pod may use, less what a worker keeps free by default.
    let limits = &job["spec"]["jobTargetRef"]["template"]["spec"]["containers"][0]["resources"]["limits"];
    let gib = limits["memory"].as_str().and_then(|text| text.strip_suffix("Gi")).expect("a limit in Gi");
    let gib: f64 = gib.parse().expect("a number");
    let asked: BTreeMap<&str, f64> = shape
        .split('&')
        .map(|pair| pair.split_once('=').expect("K=V"))
        .map(|(k, v)| (k, v.parse().expect(v)))
        .collect();
    assert!(asked["mem"] <= gib - 2.0, "{asked:?} of {gib}");
    assert_eq!(limits["cpu"].as_str().and_then(|text| text.parse().ok()), Some(asked["cpus"]));
    let authentication = job["spec"]["triggers"][0]["authenticationRef"]["name"].as_str().expect("a name");
    find("TriggerAuthentication", authentication);
}

/// The keys of the values must be those that the schema knows, and the other way round.
fn compare(values: &Value, schema: &Value, path: &str) -> usize {
    let (Some(values), Some(known)) = (values.as_object(), schema["properties"].as_object()) else { return 0 };
    let names = |map: &serde_json::Map<String, Value>| -> BTreeSet<String> {
        map.keys().filter(|name| *name != "global" && *name != "drain_timeout_seconds").cloned().collect()
    };
    assert_eq!(names(values), names(known), "{path}");
    values.len()
        + values.iter().map(|(name, value)| compare(value, &known[name], &format!("{path}.{name}"))).sum::<usize>()
}

#[test]
fn every_value_of_the_chart_is_in_its_schema() {
    let values = yaml(&place("chart/values.yaml")).remove(0);
    let schema = fs::read_to_string(place("chart/values.schema.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    assert!(compare(&values, &schema, "values") > 30);
    let chart = yaml(&place("chart/Chart.yaml")).remove(0);
    assert_eq!(
        (&chart["version"], &chart["appVersion"]),
        (&env!("CARGO_PKG_VERSION").into(), &env!("CARGO_PKG_VERSION").into())
    );
}

#[test]
fn autoscaler_of_kubernetes_reads_a_metric_that_is_served() {
    let scaler = find("HorizontalPodAutoscaler", "-worker");
    let metric = scaler["spec"]["metrics"][0]["external"]["metric"]["name"].as_str().expect("a metric");
    let target = scaler["spec"]["scaleTargetRef"]["name"].as_str().expect("a name");
    find("Deployment", target);
    let serve = find("Deployment", "-serve");
    let args = texts(&serve["spec"]["template"]["spec"]["containers"][0]["args"]);
    let shape = args.iter().find(|arg| arg.starts_with("--shape=")).expect("a shape");
    let bed = Bed::new();
    let site = Dashboard::with(&bed, &["--listen", "127.0.0.1:0", shape], &[]);
    // The label as the rule of docs/kubernetes.md has it.
    let label = shape["--shape=".len()..].replace('&', ",");
    let line = format!("{metric}{{shape=\"{label}\"}} 0");
    wait_until("the metric", SOON, || {
        let page = site.get("/metrics", &[]).body;
        holds_for(page.contains(&line), page)
    });
    let page =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kubernetes.md")).expect("docs/kubernetes.md");
    assert!(page.contains(&format!("{metric}{{shape=\"{label}\"}}")), "docs/kubernetes.md has another label");
}
