//! Refuses everything.
