//! Levels: the parts of a topic between the slashes (section 4.7.1.1).

/// How many levels a topic name or filter has: one more than it has slashes, empty ones included.
///
/// For a shared subscription pass what follows `$share/name/`. The trees use memory and time in proportion to it.
#[must_use]
pub fn levels(topic: &str) -> usize {
    topic.bytes().filter(|byte| *byte == b'/').count() + 1
}

/// What is stored of one level: 16 bytes, and an allocation only for long names.
pub(super) enum Level {
    Short {
        length: u8,
        bytes: [u8; SHORT_BYTES_MAX],
    },
    // Boxed twice to be as small as the other variant; long names pay for it.
    Long(Box<Box<str>>),
}

impl Level {
    pub(super) fn new(text: &str) -> Self {
        let mut bytes = [0; SHORT_BYTES_MAX];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(start), Ok(length)) => {
                start.copy_from_slice(text.as_bytes());
                Self::Short { length, bytes }
            }
            _ => Self::Long(Box::new(text.into())),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(text) => text.as_bytes(),
        }
    }
}

const SHORT_BYTES_MAX: usize = 14;
const _: () = assert!(size_of::<Level>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_levels_count() {
        assert_eq!(levels("a"), 1);
        assert_eq!(levels("/"), 2);
        assert_eq!(levels("/a//"), 4);
        assert_eq!(levels(&"/".repeat(65_535)), 65_536);
    }

    #[test]
    fn a_level_keeps_its_text_whatever_its_length() {
        for length in [0, 1, 13, 14, 15, 16, 255, 256, 65_535] {
            let text = "x".repeat(length);
            assert_eq!(Level::new(&text).as_bytes(), text.as_bytes(), "{length} bytes");
        }
        assert_eq!(Level::new("zürich").as_bytes(), "zürich".as_bytes());
    }
}
