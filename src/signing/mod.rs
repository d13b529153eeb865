//! Signed tasks: whoever can write Redis can add a task line, but only the holder of a signing key can make it run.
//!
//! A submitter signs each line with Ed25519 ([`Signer`]); the [`Seal`] lies beside the line, in a hash of our own, so that Python's tools still read the
//! queue. A worker holds public keys alone ([`Verifier`]): taken over, it can run what it likes, and sign nothing.
//!
//! What is signed ([`seal::message`]) is the line, the queue it was submitted to, when the signature expires, and a number used once.

mod key;
pub mod seal;
mod signer;
mod verifier;

pub use key::{BadKeys, KeyError, KeyId, PublicKey, SecretKey, public_path};
pub use seal::{BadSeal, QueueName, Seal};
pub use signer::{SignError, Signer};
pub use verifier::{Verifier, VerifyError};
