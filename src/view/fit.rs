//! Fits texts of a column into its width so that what tells them apart stays.

use super::glyphs;
use super::width::{beginning, columns, end};

/// What follows the place where two texts begin to differ, at least so many columns of it.
const SHOWN: usize = 8;

/// The beginning of a text, cut at its end.
#[must_use]
pub fn cut_end(text: &str, width: usize) -> String {
    if columns(text) <= width {
        text.to_owned()
    } else {
        format!("{}{}", beginning(text, width.saturating_sub(1)), cut(width))
    }
}

/// The beginning and the end of a text, cut in the middle.
fn cut_middle(text: &str, width: usize) -> String {
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
fn domain(names: &[&str]) -> usize {
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

/// Names without the domain that all have, where one of them takes more than `width` columns.
#[must_use]
pub fn without_domain(names: &[&str], width: usize) -> Vec<String> {
    let length = if names.iter().any(|name| columns(name) > width) { domain(names) } else { 0 };
    names.iter().map(|name| name[..name.len() - length].to_owned()).collect()
}

/// Names in `width` columns each: where one of them is longer, they lose the domain that all have, and then their middle.
#[must_use]
pub fn names(names: &[&str], width: usize) -> Vec<String> {
    let short = without_domain(names, width);
    let short: Vec<&str> = short.iter().map(String::as_str).collect();
    let cut: Vec<String> = short.iter().map(|name| cut_middle(name, width)).collect();
    let different = |mut texts: Vec<&str>| {
        texts.sort_unstable();
        texts.dedup();
        texts.len()
    };
    let is_clear = different(short.clone()) == different(cut.iter().map(String::as_str).collect());
    // Otherwise what differs stands in their middle.
    if is_clear { cut } else { distinct(&short, width) }
}

/// Texts in `width` columns each: those that are longer lose their end, or, where they would look like another one then, what they have in common with
/// that one.
#[must_use]
pub fn distinct(texts: &[&str], width: usize) -> Vec<String> {
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
    // From the beginning of the word in which they begin to differ, and of the word before, as far as there is room.
    let has_room = |from: usize| columns(&text[from..alike]) + SHOWN <= width / 2;
    let own = text[..alike].rfind([' ', '/', '=', ',', '_', '-']).map_or(0, |at| at + 1);
    let own = Some(own).filter(|from| has_room(*from)).unwrap_or(alike);
    let option = text[..own].trim_end_matches(' ').rfind(' ').map_or(0, |at| at + 1);
    let is_cut = columns(&text[own..]) + width / 3 + 1 > width;
    let option = Some(option).filter(|from| is_cut && has_room(*from));
    let from = option.unwrap_or(own);
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
        assert_eq!(domain(&["node1.example.org", "node2.example.org"]), ".example.org".len());
        assert_eq!(domain(&["a.b.example.org", "c.example.org"]), ".example.org".len());
        assert_eq!(domain(&["node1", "node2"]), 0);
        assert_eq!(domain(&["node1.a", "node1.b"]), 0);
        assert_eq!(domain(&[".org", "a.org"]), 0);
        assert_eq!(domain(&[]), 0);
        assert_eq!(cut_middle("node-rack17-blade03-gpu", 11), "node-…3-gpu");
    }

    #[test]
    fn names_stay_different_or_lose_only_what_all_have() {
        let long = ["rack17-blade03.cluster.example.org", "rack17-blade04.cluster.example.org"];
        assert_eq!(names(&long, 40), long);
        assert_eq!(names(&long, 14), ["rack17-blade03", "rack17-blade04"]);
        assert_eq!(names(&long, 11), ["rack1…ade03", "rack1…ade04"]);
        let middle = ["aaaaaaaaaaaaaaaa1bbbbbbbbbbbbbbbbbbb", "aaaaaaaaaaaaaaaa2bbbbbbbbbbbbbbbbbbb"];
        assert_eq!(names(&middle, 12), ["aaaa…1bbbbb…", "aaaa…2bbbbb…"]);
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
