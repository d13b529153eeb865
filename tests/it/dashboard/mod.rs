//! `distcomp-status serve`: the dashboard and its defences.
mod actions;
mod api;
mod batches;
mod lists;
mod load;
mod output;
mod pages;
mod pictures;
mod security;
mod terminal;
