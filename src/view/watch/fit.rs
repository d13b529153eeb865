//! Fits texts of a column into its width so that what tells them apart stays.

use crate::view::glyphs;
use crate::view::width::{beginning, columns, end};

/// What follows the place where two texts begin to differ, at least so many columns of it.
const SHOWN: usize = 8;

/// The beginning of a text, cut at its end.
pub(super) fn cut_end(text: &str, width: usize) -> String {
    if columns(text) <= width {
        text.to_owned()
    } else {
        format!("{}{}", beginning(text, width.saturating_sub(1)), cut(width))
    }
}

/// The beginning and the end of a text, cut in the middle.
pub(super) fn cut_middle(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    format!("{}{}{}", beginning(text, room.div_ceil(2)), cut(width), end(text, room / 2))
}

/// The mark of a cut, where there is room for it.
fn cut(width: usize) -> String {
    if width == 0 { String::new() } else { glyphs::cut().to_string() }
}

/// The bytes of the domain that all names end in: without it `node1.example.org` and `node2.example.org` are `node1` and `node2`.
pub(super) fn without_domain(names: &[&str]) -> usize {
    let Some((first, rest)) = names.split_first() else { return 0 };
    let mut domain = first.find('.').map_or("", |at| &first[at..]);
    while !rest.iter().all(|name| name.ends_with(domain) && name.len() > domain.len()) || domain.len() == first.len() {
        match domain.get(1..).and_then(|tail| tail.find('.')) {
            Some(at) => domain = &domain[1 + at..],
            None => return 0,
        }
    }
    domain.len()
}

/// Texts in `width` columns each: those that are longer lose their end, or, where they would look like another one then, what they have in common with
/// that one.
pub(super) fn distinct(texts: &[&str], width: usize) -> Vec<String> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_unstable_by_key(|at| texts[*at]);
    let mut alike = vec![0; texts.len()];
    for pair in order.windows(2) {
        let (a, b) = (texts[pair[0]], texts[pair[1]]);
        // Equal ones are told apart by nothing.
        if a != b {
            let shared = common(a, b);
            alike[pair[0]] = shared.max(alike[pair[0]]);
            alike[pair[1]] = shared.max(alike[pair[1]]);
        }
    }
    // Equal ones look equal.
    for pair in order.windows(2) {
        if texts[pair[0]] == texts[pair[1]] {
            alike[pair[1]] = alike[pair[0]].max(alike[pair[1]]);
        }
    }
    for pair in order.windows(2).rev() {
        if texts[pair[0]] == texts[pair[1]] {
            alike[pair[0]] = alike[pair[1]];
        }
    }
    texts.iter().zip(alike).map(|(text, alike)| fit(text, alike, width)).collect()
}

/// Bytes that two texts begin with.
fn common(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(c, _)| c.len_utf8()).sum()
}

/// One text that begins like another one for `alike` bytes.
fn fit(text: &str, alike: usize, width: usize) -> String {
    let told_apart = columns(&text[..alike]) + SHOWN.min(columns(&text[alike..]));
    if columns(text) <= width || told_apart < width {
        return cut_end(text, width);
    }
    // From the beginning of the word in which they begin to differ.
    let word = text[..alike].rfind([' ', '/', '=', ',', '_', '-']).map_or(0, |at| at + 1);
    let from = if columns(&text[word..alike]) + SHOWN > width / 2 { alike } else { word };
    let rest = &text[from..];
    let head = (width / 3).max(width.saturating_sub(columns(rest) + 1));
    let head = beginning(&text[..from], head);
    let tail = width.saturating_sub(columns(head) + 1);
    format!("{head}{}{}", cut(width), cut_end(rest, tail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_lose_the_domain_that_all_have() {
        assert_eq!(without_domain(&["node1.example.org", "node2.example.org"]), ".example.org".len());
        assert_eq!(without_domain(&["a.b.example.org", "c.example.org"]), ".example.org".len());
        assert_eq!(without_domain(&["node1", "node2"]), 0);
        assert_eq!(without_domain(&["node1.a", "node1.b"]), 0);
        assert_eq!(without_domain(&[".org", "a.org"]), 0);
        assert_eq!(without_domain(&[]), 0);
        assert_eq!(cut_middle("node-rack17-blade03-gpu", 11), "node-…3-gpu");
    }

    #[test]
    fn what_differs_is_seen() {
        let texts = [
            "./cachesim --config /data/conf.json --seed 1",
            "./cachesim --config /data/conf.json --seed 17",
            "./cachesim --config /data/conf.json --seed 2",
            "short",
            "another one which is long but differs at once",
        ];
        assert_eq!(
            distinct(&texts, 30),
            [
                "./cachesim --config /data/co…1",
                "./cachesim --config /data/c…17",
                "./cachesim --config /data/co…2",
                "short",
                "another one which is long but…"
            ]
        );
        assert_eq!(distinct(&["the same and long"; 2], 9), ["the same…"; 2]);
        assert_eq!(distinct(&["任务任务任务一", "任务任务任务二"], 7), ["任务…一", "任务…二"]);
    }

    proptest! {
        #[test]
        fn nothing_is_too_wide(texts in prop::collection::vec("[ab任/ ]{0,40}", 0..8), width in 0usize..30) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            for (text, shown) in texts.iter().zip(distinct(&texts, width)) {
                prop_assert!(columns(&shown) <= width, "{shown:?}");
                prop_assert!(columns(text) > width || shown == *text);
                prop_assert!(columns(&cut_middle(text, width)) <= width);
            }
        }

        #[test]
        fn different_texts_look_different(texts in prop::collection::hash_set("[ab]{0,40}", 0..8), width in 14usize..30) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let shown: std::collections::HashSet<String> = distinct(&texts, width).into_iter().collect();
            prop_assert_eq!(shown.len(), texts.len());
        }
    }
}
