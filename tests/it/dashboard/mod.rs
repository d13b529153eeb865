//! `distcomp-status serve`: the dashboard and its defences.
mod actions;
mod api;
mod batches;
mod fleet;
mod history;
mod lists;
mod load;
mod output;
mod pages;
mod pictures;
mod places;
mod security;
mod terminal;
