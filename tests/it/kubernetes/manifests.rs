//! The plain manifests as data.
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The files of example/kubernetes/manifests.
pub(super) const FILES: [&str; 5] = ["conf.yaml", "deployment.yaml", "hpa.yaml", "scaledjob.yaml", "serve.yaml"];

/// A resource, with the file in which it is.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) file: &'static str,
    pub(super) value: Value,
}

/// Reads a file of YAML.
pub(super) fn yaml(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A path below example/kubernetes.
pub(super) fn place(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("example/kubernetes").join(path)
}

/// All resources of the plain manifests.
pub(super) fn resources() -> Vec<Resource> {
    let of = |file: &'static str| {
        let found = yaml(&place(&format!("manifests/{file}")));
        found.into_iter().map(move |value| Resource { file, value })
    };
    FILES.into_iter().flat_map(of).collect()
}

/// The first resource of this kind whose name ends so.
pub(super) fn find(kind: &str, end: &str) -> Value {
    let is_it =
        |value: &Value| value["kind"] == kind && value["metadata"]["name"].as_str().is_some_and(|n| n.ends_with(end));
    let all = resources();
    let found = all.into_iter().map(|one| one.value).find(is_it);
    found.unwrap_or_else(|| panic!("no {kind} …{end}"))
}

impl Resource {
    /// The template of its pods, if it has any.
    pub(super) fn pod(&self) -> Option<&Value> {
        let spec = &self.value["spec"];
        let pod = [&spec["template"]["spec"], &spec["jobTargetRef"]["template"]["spec"]];
        pod.into_iter().find(|pod| pod.is_object())
    }
}

/// The conf.json that a ConfigMap holds.
pub(super) fn conf_of(name_ends: &str) -> Value {
    let map = find("ConfigMap", name_ends);
    let text = map["data"]["conf.json"].as_str().expect("conf.json");
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A list of texts.
pub(super) fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap_or_else(|| panic!("not a list: {value}"));
    list.iter().map(|one| one.as_str().unwrap_or_else(|| panic!("not a text: {one}")).to_owned()).collect()
}
