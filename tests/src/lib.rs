//! What the tests share: actors, watchdogs, namespaces.
