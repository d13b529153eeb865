//! The dispatcher's promises: every action of every event is looked at, so that an unexpected one fails.

mod bench;
mod claiming;
mod linking;
mod placing;
mod queueing;
mod running;
mod slots;
