//! Addresses that belong together: one of them, or all with the same beginning.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The addresses whose first `prefix` bits are those of `address`; its other bits are zero. IPv4 is always IPv4, also
/// where IPv6 carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of this length that an address is in. A length above that of the address is cut to it.
    #[must_use]
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let prefix = prefix.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                let address = IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask));
                Self { address, prefix }
            }
            IpAddr::V6(address) => {
                let prefix = prefix.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                let address = IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask));
                Self { address, prefix }
            }
        }
    }

    /// Bits that its addresses have in common.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether it is about IPv4.
    #[must_use]
    pub fn is_v4(self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.is_v4() && Self::around(address, self.prefix) == self
    }
}

impl FromStr for Network {
    type Err = String;

    /// `IP` or `IP/PREFIX`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let wrong = || {
            format!("{text:?} is no address; write for example 203.0.113.7, 203.0.113.0/24 or 2001:db8::/64")
        };
        let written: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if written.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix.parse().map_err(|_| wrong())?,
        };
        if prefix > longest {
            return Err(format!("the prefix of {address} has at most {longest} bits"));
        }
        let canonical = written.to_canonical();
        let carried = written.is_ipv6() && canonical.is_ipv4();
        if carried && prefix < CARRIED_BITS {
            return Err(format!("{text} is more than IPv4; write an IPv4 address"));
        }
        let prefix = if carried { prefix - CARRIED_BITS } else { prefix };
        let network = Self::around(canonical, prefix);
        if network.address != canonical {
            return Err(format!(
                "{text} has bits behind its prefix; is it to be {network}?"
            ));
        }
        Ok(network)
    }
}

/// Bits before an IPv4 address that is carried in an IPv6 one.
const CARRIED_BITS: u8 = 96;

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = if self.is_v4() { 32 } else { 128 };
        match self.prefix {
            prefix if prefix == longest => self.address.fmt(f),
            prefix => write!(f, "{}/{prefix}", self.address),
        }
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap_or_else(|why| panic!("{why}"))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_contains_what_begins_like_it() {
        let net = network("203.0.112.0/23");
        assert!(net.contains(address("203.0.113.255")) && net.contains(address("::ffff:203.0.112.0")));
        assert!(!net.contains(address("203.0.114.0")) && !net.contains(address("::cb00:7000")));
        let net = network("2001:db8:0:8::/61");
        assert!(net.contains(address("2001:db8:0:f:1::")) && !net.contains(address("2001:db8:0:10::")));
        assert!(
            network("::/0").contains(address("2001:db8::")) && !network("::/0").contains(address("1.2.3.4"))
        );
        assert!(network("0.0.0.0/0").contains(address("255.0.0.1")));
        assert!(network("192.0.2.1").contains(address("192.0.2.1")));
        assert!(!network("192.0.2.1").contains(address("192.0.2.0")));
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for text in ["192.0.2.1", "10.0.0.0/8", "0.0.0.0/0", "::1", "2001:db8::/32"] {
            assert_eq!(network(text).to_string(), text);
        }
        assert_eq!(network("192.0.2.1/32").to_string(), "192.0.2.1");
        assert_eq!(network("::ffff:10.0.0.0/104").to_string(), "10.0.0.0/8");
    }

    #[test]
    fn what_is_no_network_says_what_to_write() {
        let wrong = |text: &str| text.parse::<Network>().expect_err(text);
        assert_eq!(
            wrong("10.0.0.1/8"),
            "10.0.0.1/8 has bits behind its prefix; is it to be 10.0.0.0/8?"
        );
        assert_eq!(wrong("10.0.0.0/33"), "the prefix of 10.0.0.0 has at most 32 bits");
        for text in [
            "",
            "example.org",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.0/256",
            "10.0.0/8",
            "::ffff:0.0.0.0/64",
        ] {
            wrong(text);
        }
    }
}
