//! What both sides of the comparison share: the language of scenarios, the network they play in,
//! and the words in which each side tells what it did.
//!
//! ```text
//! generate, handmade ──► scenario ──┬─► guest: kernel IPVS in user-mode Linux ──► seen ──┐
//!                                   └─► weir: workers and control in this process ─► seen ┴─► compare
//! ```

pub mod answer;
pub mod bytes;
pub mod mark;
pub mod operation;
pub mod place;
pub mod seen;
pub mod text;
