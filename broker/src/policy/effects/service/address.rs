//! Which addresses a service may be at.
//!
//! A name is looked up again for every connection, and whoever answers for the name could point it at this machine or at
//! the metadata service of a cloud, which gives out credentials. So what a name stands for is checked, not only the
//! name.

use crate::network::Network;
use hyper_util::client::legacy::connect::dns::Name;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;
use tower_service::Service;

/// Metadata services that are not at link-local addresses: AWS over IPv6, Alibaba Cloud, Azure.
const METADATA: [IpAddr; 3] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// Whether a service may be at this address: in one of the networks, or, without any, not on this machine, its link or
/// at an address for special use.
pub(super) fn is_allowed(address: IpAddr, networks: Option<&[Network]>) -> bool {
    match networks {
        Some(networks) => networks.iter().any(|network| network.contains(address)),
        None => !is_special(address),
    }
}

fn is_special(address: IpAddr) -> bool {
    let address = address.to_canonical();
    if METADATA.contains(&address) {
        return true;
    }
    match address {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.octets().first() == Some(&0)
                || address.is_broadcast()
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unicast_link_local()
                || address.is_multicast()
                || carried_v4(address).is_some_and(|address| is_special(address.into()))
        }
    }
}

/// The IPv4 address that a gateway would make of an IPv6 address: NAT64 (RFC 6052), 6to4 (RFC 3056), and the form that
/// only old systems know (RFC 4291 section 2.5.5.1).
fn carried_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

/// Looks names up and leaves out the addresses that are not allowed.
#[derive(Clone)]
pub(super) struct Resolver {
    pub(super) networks: Option<Arc<[Network]>>,
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let networks = self.networks.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            allowed(found, networks.as_deref())
        })
    }
}

fn allowed(
    mut addresses: Vec<SocketAddr>,
    networks: Option<&[Network]>,
) -> io::Result<vec::IntoIter<SocketAddr>> {
    let first = addresses.first().map(SocketAddr::ip);
    addresses.retain(|address| is_allowed(address.ip(), networks));
    if let (true, Some(first)) = (addresses.is_empty(), first) {
        let text = format!("its name stands for {first}, which allow_addresses does not allow");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(addresses.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed_by_default(text: &str) -> bool {
        is_allowed(text.parse().expect("an address"), None)
    }

    #[test]
    fn this_machine_its_link_and_metadata_services_are_not_allowed_unless_configured() {
        for address in [
            "127.0.0.1",
            "127.1.2.3",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "::7f00:1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
        ] {
            assert!(!allowed_by_default(address), "{address}");
        }
        for address in [
            "192.0.2.1",
            "10.1.2.3",
            "192.168.0.1",
            "2001:db8::1",
            "fd00::1",
            "64:ff9b::c000:201",
        ] {
            assert!(allowed_by_default(address), "{address}");
        }
    }

    #[test]
    fn networks_that_are_configured_are_the_only_ones() {
        let networks = ["127.0.0.0/8".parse().unwrap(), "10.0.0.0/24".parse().unwrap()];
        let is_allowed = |text: &str| is_allowed(text.parse().unwrap(), Some(&networks));
        assert!(is_allowed("127.0.0.1") && is_allowed("::ffff:127.0.0.1") && is_allowed("10.0.0.9"));
        assert!(!is_allowed("10.0.1.9") && !is_allowed("192.0.2.1") && !is_allowed("::1"));
    }

    #[test]
    fn a_name_that_stands_for_a_forbidden_address_leads_nowhere() {
        let (here, there) = ("127.0.0.1:0".parse().unwrap(), "192.0.2.1:0".parse().unwrap());
        let left: Vec<_> = allowed(vec![here, there], None).unwrap().collect();
        assert_eq!(left, [there]);
        let error = allowed(vec![here], None).unwrap_err();
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }
}
