//! One runner, one file per behaviour.
