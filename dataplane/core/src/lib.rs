//! The director without NIC, clock or thread
