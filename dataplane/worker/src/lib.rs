//! The worker loop, from burst to burst
