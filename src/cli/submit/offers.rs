//! Warns about resources and labels that no live worker has: most are typing errors, and such a task waits without end.

use std::collections::BTreeMap;

use super::checked_line::Place;
use crate::cli::near::nearest;
use crate::model::{Constraint, Label, TaskLine, Traits};
use crate::view::text::count;

/// The resource that workers find by themselves.
const GPUS: &str = "gpus";

/// Names of which something is said.
const PRINTED: usize = 10;

/// Names that are remembered, at most.
const KEPT: usize = 1000;

/// What is noticed while the lines are checked.
#[derive(Default)]
pub(crate) struct Offers {
    /// Whether any worker lives whose offers are known.
    is_known: bool,
    resources: Vec<String>,
    labels: Vec<String>,
    /// What nobody offers, and the place of the first line that asks for it.
    missing: BTreeMap<Missing, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Missing {
    Resource(String),
    Label(String),
}

impl Offers {
    pub(crate) fn new(traits: &[Traits]) -> Self {
        let resources = traits.iter().flat_map(|one| one.stocks.0.keys().map(ToString::to_string)).collect();
        let labels = traits.iter().flat_map(|one| one.labels.iter().map(ToString::to_string)).collect();
        Self { is_known: !traits.is_empty(), resources, labels, missing: BTreeMap::new() }
    }

    /// Looks at a task.
    pub(crate) fn look(&mut self, place: Place<'_>, task: &TaskLine) {
        if !self.is_known || !task.needs().is_extended() {
            return;
        }
        let resources = task.needs().resources().iter().map(|amount| amount.name.as_str());
        let resources = resources.filter(|name| !self.resources.iter().any(|known| known == name));
        let labels = task.needs().constraint().iter().flat_map(Constraint::wanted).map(Label::as_str);
        let labels = labels.filter(|label| !self.labels.iter().any(|known| known == label));
        let missing: Vec<Missing> = resources
            .map(|name| Missing::Resource(name.to_owned()))
            .chain(labels.map(|label| Missing::Label(label.to_owned())))
            .collect();
        for one in missing {
            if self.missing.len() < KEPT {
                self.missing.entry(one).or_insert_with(|| place.to_string());
            }
        }
    }

    /// What is to be said of it.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut said: Vec<String> =
            self.missing.iter().take(PRINTED).map(|(missing, place)| self.warning(missing, place)).collect();
        if self.missing.len() > PRINTED {
            let more = count((self.missing.len() - PRINTED) as u64);
            said.push(format!("{more} more resources and labels are offered by no live worker"));
        }
        said
    }

    fn warning(&self, missing: &Missing, place: &str) -> String {
        // GPUs are called so everywhere, also where no live worker has one.
        let gpus = Some(GPUS.to_owned()).filter(|gpus| !self.resources.contains(gpus));
        let resources: Vec<String> = self.resources.iter().cloned().chain(gpus).collect();
        let (what, near) = match missing {
            Missing::Resource(name) => (format!("{name:?}"), nearest(name, &resources).filter(|near| *near != name)),
            Missing::Label(label) => (format!("the label {label:?}"), nearest(label, &self.labels)),
        };
        let meant = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        format!("{place}: no live worker offers {what}{meant}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FieldOrder;

    fn said(traits: &[&str], types: &[&str]) -> Vec<String> {
        let traits: Vec<Traits> = traits.iter().map(|text| text.parse().expect("traits")).collect();
        let mut offers = Offers::new(&traits);
        for (kind, number) in types.iter().zip(1..) {
            let task = TaskLine::parse(&format!("{kind}:1:1:1:x"), FieldOrder::MemCpuPrio).expect("a task");
            offers.look(Place::Line("f", number), &task);
        }
        offers.warnings()
    }

    #[test]
    fn names_that_no_worker_offers_are_told_once() {
        let workers = ["gpus@1000/1000:host=n1,region=eu:", "lic=3000:host=n2,ssd:"];
        let types =
            ["shell", "shell,gpu=1", "shell,gpu=2,constraint=sdd|ssd", "shell,zzz=1,constraint=!spot,prefer=nvme"];
        let expected = [
            "f:2: no live worker offers \"gpu\"; did you mean \"gpus\"?",
            "f:4: no live worker offers \"zzz\"",
            "f:3: no live worker offers the label \"sdd\"; did you mean \"ssd\"?",
        ];
        assert_eq!(said(&workers, &types), expected);
        assert_eq!(said(&workers, &["shell,gpus=1,lic=1,constraint=ssd,constraint=region=eu"]), [""; 0]);
        assert_eq!(said(&[], &types), [""; 0], "no worker is there");
        assert_eq!(said(&["::"], &["shell,gpus=1"]), ["f:1: no live worker offers \"gpus\""], "one without any");
        let near = ["f:1: no live worker offers \"gpu\"; did you mean \"gpus\"?"];
        assert_eq!(said(&["::"], &["shell,gpu=1"]), near, "though no worker has any");
    }

    #[test]
    fn long_lists_of_names_end_with_a_count() {
        let types: Vec<String> = (0..15).map(|at| format!("shell,r{at}=1")).collect();
        let types: Vec<&str> = types.iter().map(String::as_str).collect();
        let said = said(&["::"], &types);
        assert_eq!((said.len(), said[10].as_str()), (11, "5 more resources and labels are offered by no live worker"));
    }
}
