//! `distcomp-status serve`: the dashboard and its defences.
mod load;
mod output;
mod pages;
mod pictures;
mod security;
mod terminal;
