//! What people look at: pure functions from data to text.

pub mod safe_text;
