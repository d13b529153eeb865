//! `--name` and `--tag`: which batch or step each row belongs to.

use super::error::ComposeError;
use super::row::Row;
use super::settings::Settings;
use super::template::{Quoting, Template};
use crate::model::{BatchName, Belonging, NoBatchName, is_tag};

/// The flags, checked once, from which each row makes what it belongs to.
#[derive(Clone, Debug, Default)]
pub struct BelongingRecipe {
    name: Option<Template>,
    tags: Vec<Template>,
    /// Where it is the same for every row.
    constant: Option<Belonging>,
}

impl BelongingRecipe {
    /// Parses the templates; `names` are those of the columns. What is wrong in whichever row is found by [`Self::constant_faults`].
    #[must_use]
    pub(super) fn parse(settings: &Settings, names: &[String]) -> Self {
        let template = |text: &String| Template::parse(text, names);
        let tags = settings.tags.iter().map(template).collect();
        let mut recipe = Self { name: settings.name.as_ref().map(template), tags, constant: None };
        if recipe.templates().all(|(_, template)| !template.has_placeholder()) {
            recipe.constant = recipe.fill(&Row::default()).ok().flatten();
        }
        recipe
    }

    /// For whole lines: the only column of a row is the command.
    ///
    /// # Errors
    /// Every placeholder of a column that does not exist, and every value that is wrong in whichever row.
    pub fn of_whole_lines(settings: &Settings) -> Result<Self, Vec<ComposeError>> {
        let recipe = Self::parse(settings, &[]);
        let beyond = |(place, template): (&'static str, &Template)| {
            let placeholder = template.beyond(1)?.to_owned();
            Some(ComposeError::NoColumn { place: place.to_owned(), placeholder, columns: 1 })
        };
        let mut faults: Vec<ComposeError> = recipe.templates().filter_map(beyond).collect();
        faults.extend(recipe.constant_faults());
        if faults.is_empty() { Ok(recipe) } else { Err(faults) }
    }

    pub(super) fn templates(&self) -> impl Iterator<Item = (&'static str, &Template)> {
        let name = self.name.iter().map(|name| ("--name", name));
        name.chain(self.tags.iter().map(|tag| ("--tag", tag)))
    }

    /// What is wrong with values that are the same for every row.
    pub(super) fn constant_faults(&self) -> Vec<ComposeError> {
        let constant = self.templates().filter(|(_, template)| !template.has_placeholder());
        constant
            .filter_map(|(flag, template)| check(flag, &template.filled(&Row::default(), Quoting::None)).err())
            .collect()
    }

    /// What a row belongs to; `None` for nothing.
    ///
    /// # Errors
    /// A value is not what its flag must be.
    pub fn fill(&self, row: &Row) -> Result<Option<Belonging>, ComposeError> {
        if self.constant.is_some() {
            return Ok(self.constant.clone());
        }
        let Some(name) = &self.name else { return Ok(None) };
        let name = name.filled(row, Quoting::None);
        let name = named(&name)?;
        let mut tags = Vec::with_capacity(self.tags.len());
        for tag in &self.tags {
            let tag = tag.filled(row, Quoting::None).into_owned();
            check("--tag", &tag)?;
            tags.push(tag);
        }
        Ok(Some(Belonging::new(name, &tags)))
    }
}

fn check(flag: &'static str, value: &str) -> Result<(), ComposeError> {
    if flag == "--name" {
        return named(value).map(drop);
    }
    let valid = "a word of A-Z a-z 0-9 . _ - = / @ +, 64 at most";
    if is_tag(value) { Ok(()) } else { Err(ComposeError::Invalid { flag, value: value.to_owned(), valid }) }
}

fn named(value: &str) -> Result<BatchName, ComposeError> {
    let invalid =
        |error: NoBatchName| ComposeError::Invalid { flag: "--name", value: value.to_owned(), valid: error.valid() };
    value.parse().map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(name: &str, tags: &[&str], value: &str) -> Result<String, String> {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let settings = Settings { name: Some(name.to_owned()), tags, ..Settings::default() };
        let row = Row::of(7, vec![Some(value.to_owned())]);
        let belonging = BelongingRecipe::parse(&settings, &[]).fill(&row).map_err(|error| error.to_string())?;
        Ok(belonging.map(|belonging| belonging.as_str().to_owned()).unwrap_or_default())
    }

    #[test]
    fn names_and_tags_are_filled_from_the_row() {
        assert_eq!(filled("s1", &[], "x").as_deref(), Ok("s1"));
        assert_eq!(filled("a/{#}", &["big", "of={1}"], "x").as_deref(), Ok("a/7 big,of=x"));
        let error = filled("s {1}", &[], "x").expect_err("a blank");
        assert_eq!(error, "--name is \"s x\"; valid: a name like s1 or s1/prep of A-Z a-z 0-9 . _ -");
        assert!(filled("s1", &["a,{1}"], "x").expect_err("a comma").starts_with("--tag is \"a,x\"; valid: a word"));
        assert_eq!(BelongingRecipe::default().fill(&Row::default()).expect("valid"), None);
    }

    #[test]
    fn constant_faults_are_found_before_the_first_row() {
        let settings = Settings { name: Some("s 1".to_owned()), tags: vec![String::new()], ..Settings::default() };
        assert_eq!(BelongingRecipe::of_whole_lines(&settings).expect_err("two faults").len(), 2);
        let settings = Settings { name: Some("a/{2}".to_owned()), ..Settings::default() };
        assert!(BelongingRecipe::of_whole_lines(&settings).is_err(), "a whole line has one column");
    }
}
