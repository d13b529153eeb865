//! Makes task lines: of a command, templates and sources of values, or of bare commands with flags beside them.
//!
//! A command line names sources ([`arguments`], [`source`]); crossed or linked ([`sources`]) they give rows ([`row`]); a recipe ([`recipe`]) fills each row
//! into the templates ([`template`]) of the command and of the flags ([`settings`], [`needs`], [`belonging`]). Nothing here reaches Redis or prints.

pub mod arguments;
pub mod array;
pub mod belonging;
pub mod edit;
pub mod error;
pub mod joblog;
pub mod jsonl;
mod moment;
pub mod needs;
pub mod recipe;
pub mod row;
pub(crate) mod seconds;
pub mod settings;
pub mod source;
pub mod sources;
pub mod template;

pub use arguments::Arguments;
pub use array::Array;
pub use belonging::BelongingRecipe;
pub use edit::{EditError, LineEdit};
pub use error::ComposeError;
pub use needs::{NeedRecipe, NeedSettings};
pub use recipe::{Composed, Recipe};
pub use row::Row;
pub use settings::Settings;
pub use sources::Sources;
pub use template::Template;
