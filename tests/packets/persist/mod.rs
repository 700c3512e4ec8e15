//! Persistence and marks, step by step as a kernel was recorded to do it: which server each packet
//! went to, and which templates were listed with which state and time left.
//!
//! Every scene is played by one worker's short way, by its general way, and by three workers.

mod marks;
mod ports;
mod scene;
mod sip;
mod templates;
