//! `distcomp-status serve`: the dashboard and its defences.
mod api;
mod batches;
mod load;
mod output;
mod pages;
mod pictures;
mod security;
mod terminal;
