//! The places of a record's fields, and their numbers in the text of a script.

use super::constants::literal;

/// The fields of one record of a script.
pub(in crate::queue) struct Shape {
    /// The name of the role in Lua.
    role: &'static str,
    /// The number of the first field: Lua counts arguments and values from 1, and the fields of a repeated record from where it begins.
    first: usize,
    fields: Vec<String>,
}

impl Shape {
    pub(super) fn new(role: &'static str, first: usize, fields: Vec<String>) -> Self {
        Self { role, first, fields }
    }

    fn number(&self, role: &str, field: &str) -> Option<usize> {
        if role != self.role {
            return None;
        }
        let at = self.fields.iter().position(|name| *name == field).map(|at| at + self.first);
        at.or_else(|| (field == "size").then_some(self.fields.len()))
    }
}

/// Puts the numbers of fields, and the values of constants, in place of their names. A name that is in no table stays: in Lua it is an unknown global, an error when it is used.
pub(in crate::queue) fn numbered(text: &str, shapes: &[Shape]) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
        out.push_str(before);
        let number =
            word.split_once('.').and_then(|(role, field)| shapes.iter().find_map(|shape| shape.number(role, field)));
        match number.map(|number| number.to_string()).or_else(|| literal(word)) {
            Some(value) => out.push_str(&value),
            None => out.push_str(word),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}
