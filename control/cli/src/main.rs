//! Placeholder entry point, replaced with the first real commit.
fn main() {}
