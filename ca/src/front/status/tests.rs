//! Stands for the tests.
