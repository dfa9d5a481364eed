//! Random conversations, played.

use super::script::play;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_conversation_breaks_a_promise(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        play(&bytes);
    }
}
