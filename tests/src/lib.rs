//! Weir's tests, lab and demo
