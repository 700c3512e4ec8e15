//! How the library is linked.

fn main() {
    // Rust has every symbol bound at load. This library is loaded into whatever a program starts, and
    // must not be able to keep any of it from starting.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,lazy");
    println!("cargo:rerun-if-changed=build.rs");
}
