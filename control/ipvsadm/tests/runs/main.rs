//! `ipvsadm` as a whole: against what the original was seen to do, and what it does better.

mod anything;
mod recorded;
mod restore;
mod support;
