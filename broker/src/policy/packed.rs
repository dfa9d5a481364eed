//! The flat verdicts of `on-publish` and `on-subscribe`, unpacked. Zero is a refusal; what is not defined is a fault.

use super::notice::{Fault, FaultKind};

/// A verdict of `on-publish` or `on-subscribe`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) code: Code,
    /// 0: the usual one.
    pub(super) reason: u8,
    /// Granted QoS of a subscription; `None`: as requested.
    pub(super) qos: Option<u8>,
    pub(super) throttle_ms: u16,
    /// How long it may be reused, in 100 ms.
    pub(super) cache_ticks: u16,
    /// It may be reused for payloads of other sizes, too.
    pub(super) whatever_size: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Deny,
    Allow,
    Abstain,
    Throttle,
    Drop,
    Disconnect,
}

impl Packed {
    /// A verdict that allows, and says nothing else.
    pub(super) const ALLOW_BITS: u64 = 1;
    pub(super) const ALLOW: Self = Self {
        code: Code::Allow,
        reason: 0,
        qos: None,
        throttle_ms: 0,
        cache_ticks: 0,
        whatever_size: false,
    };

    /// Unpacks a verdict of `on-publish`, whose bit 16 says "whatever the size" and whose bits 17 to 31 are zero.
    #[inline]
    pub(super) fn publish(bits: u64) -> Result<Self, Fault> {
        if bits >> 17 & 0x7FFF != 0 {
            return Err(undefined(bits));
        }
        Ok(Self {
            qos: None,
            whatever_size: bits >> 16 & 1 != 0,
            ..Self::unpack(bits)?
        })
    }

    /// Unpacks a verdict of `on-subscribe`, which has the granted QoS + 1 in bits 16 to 23.
    pub(super) fn subscribe(bits: u64) -> Result<Self, Fault> {
        if bits >> 24 & 0xFF != 0 || bits >> 16 & 0xFF > 3 {
            return Err(undefined(bits));
        }
        Self::unpack(bits)
    }

    #[inline]
    fn unpack(bits: u64) -> Result<Self, Fault> {
        let [
            code,
            reason,
            qos_plus_1,
            _,
            throttle_low,
            throttle_high,
            cache_low,
            cache_high,
        ] = bits.to_le_bytes();
        let code = match code {
            0 => Code::Deny,
            1 => Code::Allow,
            2 => Code::Abstain,
            3 => Code::Throttle,
            4 => Code::Drop,
            5 => Code::Disconnect,
            _ => return Err(undefined(bits)),
        };
        Ok(Self {
            code,
            reason,
            qos: qos_plus_1.checked_sub(1),
            throttle_ms: u16::from_le_bytes([throttle_low, throttle_high]),
            cache_ticks: u16::from_le_bytes([cache_low, cache_high]),
            whatever_size: false,
        })
    }
}

#[cold]
fn undefined(bits: u64) -> Fault {
    Fault::new(FaultKind::BadVerdict, format!("{bits:#018x} is not a verdict"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_denies() {
        assert_eq!(Packed::publish(0).unwrap().code, Code::Deny);
        assert_eq!(Packed::subscribe(0).unwrap().code, Code::Deny);
    }

    #[test]
    fn allowing_and_nothing_else_is_a_number() {
        assert_eq!(Packed::publish(Packed::ALLOW_BITS).unwrap(), Packed::ALLOW);
    }

    #[test]
    fn every_field_is_where_the_interface_says() {
        let packed = Packed::publish(0x0203_0405_0000_8703).unwrap();
        assert_eq!(
            packed,
            Packed {
                code: Code::Throttle,
                reason: 0x87,
                qos: None,
                throttle_ms: 0x0405,
                cache_ticks: 0x0203,
                whatever_size: false,
            }
        );
        assert!(Packed::publish(0x1_0001).unwrap().whatever_size);
        assert_eq!(Packed::publish(0x1_0001).unwrap().qos, None);
        assert!(!Packed::subscribe(0x1_0001).unwrap().whatever_size);
        assert_eq!(Packed::subscribe(0x02_0001).unwrap().qos, Some(1));
        assert_eq!(Packed::subscribe(0x00_0001).unwrap().qos, None);
    }

    #[test]
    fn what_is_not_defined_is_a_fault() {
        for code in 6..=0xFF {
            assert_eq!(Packed::publish(code).unwrap_err().kind, FaultKind::BadVerdict);
        }
        for bit in 17..32 {
            assert!(Packed::publish(1 << bit | 1).is_err(), "bit {bit}");
        }
        assert!(Packed::subscribe(0x0100_0001).is_err());
        assert!(Packed::subscribe(0x0004_0001).is_err());
    }
}
