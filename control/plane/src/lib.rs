//! The control plane: wanted state, Linux's network, metrics, API
