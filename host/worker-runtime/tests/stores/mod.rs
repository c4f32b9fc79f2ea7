//! One suite for every blob store, one for every metadata store.
