//! Which parts of a bench were asked for, and whether it is one: `cargo test` runs it too, with next to nothing.

/// What stands behind `cargo bench --bench NAME --`.
pub(crate) struct Parts {
    /// Whether to measure; else only to see that it works.
    pub(crate) is_bench: bool,
    named: Vec<String>,
}

impl Parts {
    pub(crate) fn of_args() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let is_bench = args.iter().any(|arg| arg == "--bench");
        Self { is_bench, named: args.into_iter().filter(|arg| arg.chars().all(char::is_lowercase)).collect() }
    }

    /// All are wanted where none is named.
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.named.is_empty() || self.named.iter().any(|named| named == part)
    }

    /// A size, for the measurement or for the look whether it works.
    pub(crate) fn size<T>(&self, measured: T, tried: T) -> T {
        if self.is_bench { measured } else { tried }
    }
}
