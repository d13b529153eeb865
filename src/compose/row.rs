//! A row: the values of one task, a column each.

/// The values for one task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The task's number, from 1: `{#}`.
    pub number: u64,
    /// `None` for a column that a short row of a table lacks.
    columns: Vec<Option<String>>,
}

impl Row {
    /// A row of these columns.
    #[must_use]
    pub fn of(number: u64, columns: Vec<Option<String>>) -> Self {
        Self { number, columns }
    }

    /// How many columns there are, those that are missing included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there is no column at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// A column, from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&str> {
        self.columns.get(index)?.as_deref()
    }

    /// The columns that are there, in order.
    pub fn present(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter_map(Option::as_deref)
    }

    /// Replaces the columns from `at` on by as many as `values` has; fewer than `width` leave the rest missing.
    pub(super) fn put(&mut self, at: usize, width: usize, values: &[String]) {
        self.columns.resize(self.columns.len().max(at + width), None);
        for (index, column) in self.columns[at..at + width].iter_mut().enumerate() {
            match (column.as_mut(), values.get(index)) {
                // Its buffer is used again.
                (Some(old), Some(new)) => new.clone_into(old),
                (None, Some(new)) => *column = Some(new.clone()),
                (_, None) => *column = None,
            }
        }
    }
}
