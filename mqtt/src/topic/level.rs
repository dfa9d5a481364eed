//! Levels: the parts of a topic between the slashes (section 4.7.1.1).

/// How many levels a topic name or filter has: one more than it has slashes, empty ones included.
///
/// For a shared subscription pass what follows `$share/name/`. The trees use memory and time in proportion to it.
#[must_use]
pub fn levels(topic: &[u8]) -> usize {
    topic.iter().filter(|byte| **byte == b'/').count() + 1
}

/// The levels of a topic name or filter, in order.
pub(super) fn split(topic: &[u8]) -> impl Iterator<Item = &[u8]> {
    topic.split(|byte| *byte == b'/')
}

/// The first level, and the others if there are any.
#[inline]
pub(super) fn split_first(levels: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(end) = levels.iter().position(|byte| *byte == b'/') else {
        return (levels, None);
    };
    let (level, below) = levels.split_at_checked(end).unwrap_or_default();
    (level, below.get(1..))
}

/// Whether two names are the same; short ones, as most are, without the call that comparing any length takes.
#[inline]
fn equal(left: &[u8], right: &[u8]) -> bool {
    /// Both ends of that size, which overlap or meet in names of up to twice the size.
    fn ends<const N: usize>(left: &[u8], right: &[u8]) -> Option<bool> {
        let first = left.first_chunk::<N>()? == right.first_chunk::<N>()?;
        Some(first & (left.last_chunk::<N>()? == right.last_chunk::<N>()?))
    }
    if left.len() != right.len() {
        return false;
    }
    match left.len() {
        0..2 => left.first() == right.first(),
        2..4 => ends::<2>(left, right) == Some(true),
        4..8 => ends::<4>(left, right) == Some(true),
        8..=16 => ends::<8>(left, right) == Some(true),
        _ => left == right,
    }
}

/// What is stored of one level: 16 bytes, and an allocation only for names that do not fit.
pub(super) enum Level {
    Short {
        length: u8,
        bytes: [u8; SHORT_BYTES_MAX],
    },
    /// Long enough for a UUID, in one allocation.
    Medium {
        length: u8,
        bytes: Box<[u8; MEDIUM_BYTES_MAX]>,
    },
    // Boxed twice to be as small as the others; long names pay for it.
    Long(Box<Box<[u8]>>),
}

impl Level {
    pub(super) fn new(text: &[u8]) -> Self {
        let Ok(length) = u8::try_from(text.len()) else {
            return Self::Long(Box::new(text.into()));
        };
        if let Some(bytes) = padded(text) {
            Self::Short { length, bytes }
        } else if let Some(bytes) = padded(text) {
            Self::Medium {
                length,
                bytes: Box::new(bytes),
            }
        } else {
            Self::Long(Box::new(text.into()))
        }
    }

    #[inline]
    pub(super) fn is(&self, text: &[u8]) -> bool {
        equal(self.as_bytes(), text)
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Medium { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(text) => text,
        }
    }
}

/// The text with zeros behind it, if it fits.
fn padded<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    bytes.get_mut(..text.len())?.copy_from_slice(text);
    Some(bytes)
}

const SHORT_BYTES_MAX: usize = 14;
const MEDIUM_BYTES_MAX: usize = 40;
const _: () = assert!(size_of::<Level>() == 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_levels_count() {
        assert_eq!(levels(b"a"), 1);
        assert_eq!(levels(b"/"), 2);
        assert_eq!(levels(b"/a//"), 4);
        assert_eq!(levels("/".repeat(65_535).as_bytes()), 65_536);
    }

    #[test]
    fn names_are_the_same_if_all_bytes_are() {
        for length in 0..40 {
            let name = vec![b'x'; length];
            assert!(equal(&name, &name.clone()));
            assert!(!equal(&name, &vec![b'x'; length + 1]));
            for at in 0..length {
                let mut other = name.clone();
                other[at] = b'y';
                assert!(!equal(&name, &other), "byte {at} of {length}");
            }
        }
    }

    #[test]
    fn the_first_level_is_split_from_the_others() {
        assert_eq!(split_first(b"a/b/c"), (&b"a"[..], Some(&b"b/c"[..])));
        assert_eq!(split_first(b"a/"), (&b"a"[..], Some(&b""[..])));
        assert_eq!(split_first(b"/a"), (&b""[..], Some(&b"a"[..])));
        assert_eq!(split_first(b""), (&b""[..], None));
    }

    #[test]
    fn a_level_keeps_its_text_whatever_its_length() {
        for length in [0, 1, 13, 14, 15, 16, 39, 40, 41, 255, 256, 65_535] {
            let text = "x".repeat(length);
            assert_eq!(
                Level::new(text.as_bytes()).as_bytes(),
                text.as_bytes(),
                "{length} bytes"
            );
        }
        assert_eq!(Level::new("zürich".as_bytes()).as_bytes(), "zürich".as_bytes());
    }
}
