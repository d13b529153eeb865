//! `conf.json`: read once, checked whole, then typed and immutable.
//!
//! [`load()`] reads the file into a mirror of its keys (`raw`), and `resolve` turns that into a [`Config`], or into
//! [`ConfigErrors`] holding every fault of the file at once. [`Watcher`] notices that the file has changed.
//! This layer never prints and never exits; warnings are returned.

mod confine;
mod expand;
mod fault;
mod file_trust;
mod key_docs;
mod key_rules;
mod load;
mod network_fs;
mod node;
mod offering;
mod paths;
mod python;
mod raw;
mod redis;
mod redis_url;
mod reload;
mod resolve;
mod resource_def;
mod secrets;
mod settings;
mod shape;
mod source;
mod values;

#[cfg(test)]
mod tests;

pub use confine::{Confine, TaskRlimits};
pub use expand::expand_path;
pub use fault::{ConfigErrors, Fault, FaultSource};
pub use key_docs::{KEY_DOCS, KeyDoc};
pub use load::{LoadedConfig, load};
pub use node::node_warnings;
pub use offering::{parse_label_flag, parse_resource_flag};
pub use paths::warning_of_open_secret;
pub use raw::KEYS;
pub use reload::{Fingerprint, Reload, SettingChange, Watcher, carry_over, diff};
pub use resource_def::{GPUS, ResourceDef, ResourceDefs};
pub use secrets::{SECRET_VARIABLES, withheld_variables};
pub(crate) use settings::address;
pub use settings::{Config, Endpoint, Origin, Prefetch, RedisSettings, SentinelLogin, TlsSettings};
pub use shape::{ShapeParts, life, parse_shape, shape_resource, some_cores, some_gib};
pub use source::{ConfigSource, DEFAULT_FILE, Environment, Overrides, Role, URL_FROM};

/// Feeds a text to everything that reads a configuration; what is wrong with it must be said without a line end or a control character in it.
#[cfg(any(test, fuzzing))]
pub fn fuzz(text: &str) {
    let mut warnings = Vec::new();
    let faults = match raw::parse(text, &mut warnings) {
        Ok(raw) => resolve::resolve(&raw, &Overrides::default(), Role::Client, &mut warnings).err().unwrap_or_default(),
        Err(fault) => vec![fault],
    };
    for said in faults.iter().map(Fault::to_string).chain(warnings) {
        assert!(!said.contains(|c: char| c.is_control()), "{said:?}");
    }
}
