//! What the embedded store does beyond the contract.
