//! What the documents say is proved by a test is.

use crate::nothing;
use crate::source;
use std::collections::BTreeSet;

/// Documents that name tests as proofs: every name of so many words or more in backticks is one, unless it is a metric's.
const DOCUMENTS: &[&str] = &["docs/durability.md"];
const WORDS_MIN: usize = 5;
const METRIC: &str = "sluice_";

#[test]
fn every_test_that_is_named_as_a_proof_exists() {
    let names: BTreeSet<&str> = source::rust()
        .filter(|source| source.is_test())
        .flat_map(|source| source.code().lines())
        .filter_map(|line| line.trim_start().strip_prefix("fn ")?.split('(').next())
        .collect();
    let mut missing = Vec::new();
    for document in DOCUMENTS {
        let document = source::all().iter().find(|source| source.path == *document);
        let document = document.expect("the document is there");
        // Every second piece is in backticks.
        for name in document.text.split('`').skip(1).step_by(2) {
            let is_name = name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            let is_name = is_name && !name.starts_with(METRIC);
            if is_name && name.split('_').count() >= WORDS_MIN && !names.contains(name) {
                missing.push(format!("{}: {name}", document.path));
            }
        }
    }
    nothing("write the test, or do not promise", missing);
}
