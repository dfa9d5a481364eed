//! Reason string and user properties, which most packets carry.

use super::error::Violation;
use super::property::{Pair, Property};
use crate::limits::USER_PROPERTIES_MAX;
use crate::packet::UserProperties;
use crate::text::Text;
use bytes::Bytes;

/// Appends a user property, a part of `frame`.
pub(crate) fn push(list: &mut UserProperties, frame: &Bytes, pair: Pair<'_>) -> Result<(), Violation> {
    if list.len() >= USER_PROPERTIES_MAX {
        return Err(Violation::TooManyUserProperties);
    }
    list.push((Text::part_of(frame, pair.0), Text::part_of(frame, pair.1)));
    Ok(())
}

/// Lists a reason string and user properties for encoding.
pub(crate) fn each(
    reason_string: Option<&Text>,
    user_properties: &UserProperties,
    put: &mut dyn FnMut(Property<'_>),
) {
    if let Some(text) = reason_string {
        put(Property::ReasonString(text));
    }
    for (name, value) in user_properties {
        put(Property::User(Pair(name, value)));
    }
}
