//! `distcomp-status serve`: the dashboard and its defences.
mod load;
mod pages;
mod pictures;
mod security;
