//! Text for the formatter of manual pages.

/// Text that is printed as it is.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        // At the beginning of a line these would make it a request.
        if line.starts_with(['.', '\'']) {
            out.push_str("\\&");
        }
        for c in line.chars() {
            match c {
                '\\' => out.push_str("\\e"),
                '-' => out.push_str("\\-"),
                // So that what is copied from a page can be run.
                '\'' => out.push_str("\\(aq"),
                '`' => out.push_str("\\(ga"),
                '^' => out.push_str("\\(ha"),
                '~' => out.push_str("\\(ti"),
                c => out.push(c),
            }
        }
    }
    out
}

/// To be typed as it is.
pub(super) fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", plain(text))
}

/// To be replaced by a value.
pub(super) fn italic(text: &str) -> String {
    format!("\\fI{}\\fR", plain(text))
}

/// The beginning of a page.
pub(super) fn head(name: &str, section: u8, about: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        ".TH {} {section} \"\" \"DistComp {version}\" \"DistComp\"\n.SH NAME\n{} \\- {}\n",
        plain(name),
        plain(name),
        plain(about)
    )
}

/// A heading.
pub(super) fn section(title: &str) -> String {
    format!(".SH {title}\n")
}

/// A term, marked up already, and text about it.
pub(super) fn item(term: &str, about: &str) -> String {
    format!(".TP\n{term}\n{about}\n")
}

/// Lines that stay as they are, but for the margin of a help text.
pub(super) fn verbatim(text: &str) -> String {
    let margin = if text.lines().all(|line| line.starts_with("  ")) { "  " } else { "" };
    let text: Vec<&str> = text.lines().map(|line| line.strip_prefix(margin).unwrap_or(line)).collect();
    let text = text.join("\n");
    format!(".PP\n.RS 4\n.nf\n{}\n.fi\n.RE\n", plain(&text))
}

/// Text with the marks of Markdown: code becomes bold, links their text.
pub(super) fn from_markdown(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        out.push_str(&if index % 2 == 1 { bold(part) } else { plain(&without_links(part)) });
    }
    out
}

fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((words, target)) = link.split_once("](") else { break };
        let Some((target, after)) = target.split_once(')') else { break };
        out.push_str(before);
        out.push_str(words);
        if !target.starts_with('#') {
            out.push_str(&format!(" ({target})"));
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_a_request() {
        assert_eq!(plain(".TH x\n'a' -b \\c"), "\\&.TH x\n\\&\\(aqa\\(aq \\-b \\ec");
    }

    #[test]
    fn marks_of_markdown_become_those_of_pages() {
        assert_eq!(
            from_markdown("`a-b` is; see [c](docs/c.md). See [D](#d)"),
            "\\fBa\\-b\\fR is; see c (docs/c.md). See D"
        );
        assert_eq!(from_markdown("a list [1] stays"), "a list [1] stays");
    }
}
