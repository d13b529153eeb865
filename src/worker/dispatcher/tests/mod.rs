//! The dispatcher's promises: every action of every event is looked at, so that an unexpected one fails.

mod bench;
mod claiming;
mod linking;
mod queueing;
mod running;
mod slots;
