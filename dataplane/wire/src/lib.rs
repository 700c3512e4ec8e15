//! Wire formats: bytes to fields and back; no I/O, no policy
