//! What the behaviours share: fixtures made by code, then broken on purpose.
