//! What waits for what within a submission, and whether it goes round in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::model::BatchName;

/// Edges that are remembered, at most: of more, circles show in the queue only.
const MOST: usize = 200_000;

/// Names and the names that they wait for.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// With the place at which each was said first, and its number in order.
    edges: BTreeMap<BatchName, BTreeMap<BatchName, (usize, String)>>,
    count: usize,
}

/// A fault of the order, and where it is; the place may be empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Disorder {
    pub(super) place: String,
    pub(super) what: String,
}

/// Where a way along the edges may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node<'a> {
    /// At what waits under this name alone.
    Of(&'a BatchName),
    /// At what this name and its steps are, all of it.
    AllOf(&'a BatchName),
}

impl Order {
    /// A task of `name` waits for `after`.
    pub(super) fn add(&mut self, name: &BatchName, after: &BatchName, place: impl FnOnce() -> String) {
        if self.count == MOST {
            return;
        }
        let known = self.edges.entry(name.clone()).or_default();
        if !known.contains_key(after) {
            known.insert(after.clone(), (self.count, place()));
            self.count += 1;
        }
    }

    /// Each edge: who waits, and for what.
    pub(super) fn edges(&self) -> impl Iterator<Item = (&BatchName, &BatchName)> {
        self.edges.iter().flat_map(|(name, after)| after.keys().map(move |after| (name, after)))
    }

    /// What is wrong with it, if anything: a step that waits for what it is a part of, or a circle.
    pub(super) fn disorder(&self) -> Option<Disorder> {
        let of_itself =
            self.edges.iter().flat_map(|(name, after)| after.iter().map(move |(after, at)| (name, after, at)));
        let mut of_itself = of_itself.filter(|(name, after, _)| name.is_within(after) && name != after);
        if let Some((name, after, (_, place))) = of_itself.next() {
            let what = format!("{name} is a part of {after} and cannot wait for it");
            return Some(Disorder { place: place.clone(), what });
        }
        self.circle()
    }

    /// Goes along the edges, depth first; a name that is met again on the way is a circle. Each name is gone on from once, and so is all of each name that
    /// others wait for: a thousand that wait for a batch of a thousand steps are no million ways.
    fn circle(&self) -> Option<Disorder> {
        let mut done = BTreeSet::new();
        for start in self.edges.keys() {
            // The way so far: a node, and what is left to look at from there.
            let mut way: Vec<(Node<'_>, Vec<Node<'_>>)> = Vec::new();
            let mut next = Some(Node::Of(start));
            loop {
                if let Some(node) = next.take() {
                    if let Some(at) = way.iter().position(|(met, _)| *met == node) {
                        let names = way[at..].iter().filter_map(|(node, _)| match node {
                            Node::Of(name) => Some(*name),
                            Node::AllOf(_) => None,
                        });
                        return Some(self.told(&names.collect::<Vec<_>>()));
                    }
                    if !done.contains(&node) {
                        way.push((node, self.next(node)));
                    }
                }
                let Some((node, left)) = way.last_mut() else { break };
                next = left.pop();
                if next.is_none() {
                    done.insert(*node);
                    way.pop();
                }
            }
        }
        None
    }

    fn next<'a>(&'a self, node: Node<'a>) -> Vec<Node<'a>> {
        match node {
            Node::Of(name) => self.edges.get(name).into_iter().flat_map(BTreeMap::keys).map(Node::AllOf).collect(),
            Node::AllOf(name) => self.within(name).map(Node::Of).collect(),
        }
    }

    /// What waits of a name and its steps.
    fn within<'a>(&'a self, name: &'a BatchName) -> impl Iterator<Item = &'a BatchName> {
        let from = self.edges.range((Bound::Included(name), Bound::Unbounded)).map(|(name, _)| name);
        // Between s1 and s1/x others may be sorted, such as s1-b.
        from.take_while(move |other| other.as_str().starts_with(name.as_str()))
            .filter(move |other| other.is_within(name))
    }

    /// A circle in words, from the name that was given first; its place is that of the edge that closes it.
    fn told(&self, circle: &[&BatchName]) -> Disorder {
        let edge_at = |at: usize| {
            let (name, next) = (circle[at], circle[(at + 1) % circle.len()]);
            let after = self.edges.get(name).into_iter().flatten();
            after.filter(|(after, _)| next.is_within(after)).map(|(_, edge)| edge).min()
        };
        let edges: Vec<_> = (0..circle.len()).filter_map(edge_at).collect();
        let first = (0..edges.len()).min_by_key(|at| edges[*at].0).unwrap_or(0);
        let top = circle[0].top();
        let is_of_one = circle.iter().all(|name| !name.is_top() && name.top() == top);
        let shown = |name: &BatchName| {
            let name = name.as_str();
            if is_of_one { name[top.as_str().len() + 1..].to_owned() } else { name.to_owned() }
        };
        let names: Vec<String> = (0..=circle.len()).map(|at| shown(circle[(first + at) % circle.len()])).collect();
        let place = edges.iter().max_by_key(|edge| edge.0).map(|(_, place)| place.clone()).unwrap_or_default();
        Disorder { place, what: format!("a circle: {}", names.join(" after ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disorder(edges: &[(&str, &str)]) -> Option<String> {
        let name = |text: &str| text.parse::<BatchName>().expect("a name");
        let mut order = Order::default();
        for ((from, to), line) in edges.iter().zip(1..) {
            order.add(&name(from), &name(to), || format!("f:{line}"));
        }
        order.disorder().map(|found| format!("{}: {}", found.place, found.what))
    }

    #[test]
    fn circles_are_told_with_their_path_and_place() {
        assert_eq!(
            disorder(&[("s/align", "s/report"), ("s/x", "s/align"), ("s/report", "s/align")]).as_deref(),
            Some("f:3: a circle: align after report after align")
        );
        assert_eq!(
            disorder(&[("a", "b"), ("b", "c"), ("c", "a")]).as_deref(),
            Some("f:3: a circle: a after b after c after a")
        );
        assert_eq!(disorder(&[("a", "a")]).as_deref(), Some("f:1: a circle: a after a"));
        // All of b includes b/x.
        assert_eq!(
            disorder(&[("a", "b"), ("b-c", "a"), ("b/x", "a")]).as_deref(),
            Some("f:3: a circle: a after b/x after a")
        );
        assert_eq!(disorder(&[("s/x", "s")]).as_deref(), Some("f:1: s/x is a part of s and cannot wait for it"));
    }

    #[test]
    fn what_only_looks_like_a_circle_is_none() {
        assert_eq!(disorder(&[("a/2", "b/2"), ("b/2", "a/1"), ("b/1", "c"), ("a/1", "b/1")]), None);
        assert_eq!(disorder(&[("s", "s/prep"), ("d", "b"), ("d", "c"), ("b", "a"), ("c", "a")]), None);
        let long: Vec<(String, String)> = (0..5000).map(|at| (format!("n{at}"), format!("n{}", at + 1))).collect();
        let long: Vec<(&str, &str)> = long.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
        assert_eq!(disorder(&long), None);
    }
}
