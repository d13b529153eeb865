//! The page of `conf.json`.

use super::facts::see_also;
use super::roff_text::{bold, from_markdown, head, item, plain, section, verbatim};
use crate::config::KEY_DOCS;

/// The whole page.
pub(super) fn text() -> String {
    let mut text = head("distcomp-conf", 5, "the configuration file of DistComp, conf.json");
    text.push_str(&section("DESCRIPTION"));
    for paragraph in DESCRIPTION {
        text.push_str(&format!(".PP\n{}\n", from_markdown(paragraph)));
    }
    text.push_str(&section("KEYS"));
    for doc in KEY_DOCS {
        let names: Vec<String> = doc.keys.iter().map(|key| bold(key)).collect();
        let default = from_markdown(doc.default);
        text.push_str(&item(&names.join(", "), &format!("{}.\n.br\nDefault: {default}", from_markdown(doc.meaning))));
    }
    text.push_str(&section("FILES"));
    text.push_str(&item(&format!("\\fI{}\\fR", plain("./conf.json")), "Read if no other file is named"));
    text.push_str(&section("EXAMPLES"));
    text.push_str(&verbatim(EXAMPLE));
    text.push_str(&see_also("distcomp-conf", None));
    text
}

const DESCRIPTION: &[&str] = &[
    "A JSON object. All programs read the same file: the one that `--config` or `DISTCOMP_CONFIG` names, otherwise `conf.json` in the working directory, otherwise none. Every key is optional.",
    "Numbers may be written as text. An unknown key causes a warning that names the most similar known key. All faults of a file are reported at once. `distcomp-worker --check` checks the file and prints what the node offers.",
    "A running worker reads the file again when it changes, and on SIGHUP. If the new file is invalid, the old settings stay in force and the log says so.",
    "Paths may begin with `~`, `$NAME` or `${NAME}`.",
];

const EXAMPLE: &str = r#"{
    "redis_url": "redis://queue.example:6379/0",
    "redis_pass_file": "~/.distcomp.pass",
    "max_task_per_worker": 64,
    "min_dram_gb_accept_new_task": 8,
    "min_dram_gb_trigger_return": 4,
    "default_task_timeout_seconds": 7200
}"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KEYS;

    #[test]
    fn every_key_has_its_place_and_the_example_uses_known_ones() {
        let page = text();
        for key in KEYS {
            assert!(page.contains(&format!("\\fB{key}\\fR")), "{key}");
        }
        let example: serde_json::Map<String, serde_json::Value> = serde_json::from_str(EXAMPLE).expect("JSON");
        assert!(example.keys().all(|key| KEYS.contains(&key.as_str())));
    }
}
