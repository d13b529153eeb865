//! A page on its way into a file.

/// A file below `man/`.
pub(in crate::cli) struct Page {
    /// `man1/distcomp-status.1`.
    pub(in crate::cli) path: String,
    /// Its text.
    pub(in crate::cli) text: String,
}
