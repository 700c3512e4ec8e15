//! JSON bodies of the local API.
