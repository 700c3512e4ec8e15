//! Declarations of DPDK, made by bindgen from the installed headers
