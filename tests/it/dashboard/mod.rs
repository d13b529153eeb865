//! `distcomp-status serve`: the dashboard and its defences (CONTRACT 5).
mod load;
mod output;
mod pages;
mod pictures;
mod security;
mod terminal;
