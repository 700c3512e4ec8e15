//! Safe faces on dpdk-sys
