//! Functions run in other processes: Process and Pool.
