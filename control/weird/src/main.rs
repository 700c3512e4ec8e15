//! Placeholder entry point, replaced with the first real commit.
mod dataplane;

fn main() {}
