//! Where a listener is to be found: an IP address with a port, or a socket in the file system.

use super::table::{Parsed, Table, Wrong};
use super::value;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use toml::de::DeValue;

/// Where a listener is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP; port 0 lets the system choose.
    Ip(SocketAddr),
    /// A socket in the file system.
    Unix(UnixSocket),
}

/// A socket in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    /// Where it is.
    pub path: PathBuf,
    /// Its permission bits; to connect is to write.
    pub mode: u32,
    /// Name or number of the group it belongs to; `None`: the broker's.
    pub group: Option<String>,
}

impl Address {
    /// Whether clients can only come from this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether both cannot be had at the same time.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip(one), Self::Ip(other)) => one.port() != 0 && one == other,
            (Self::Unix(one), Self::Unix(other)) => one.path == other.path,
            _ => false,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// As it is configured.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(socket) => write!(f, "{PREFIX}{}", socket.path.display()),
        }
    }
}

/// Reads `address`, and what belongs to it. `None`: a problem was noted.
pub(super) fn read(table: &mut Table<'_, '_>, base: &Path) -> Option<Address> {
    let address = table.required("address", address(base));
    let mode = table.value("socket_mode", mode);
    let group = table.value("socket_group", value::text);
    match address? {
        Address::Unix(socket) => Some(Address::Unix(UnixSocket {
            mode: mode.unwrap_or(socket.mode),
            group,
            ..socket
        })),
        ip @ Address::Ip(_) => {
            for (key, is_said) in [("socket_mode", mode.is_some()), ("socket_group", group.is_some())] {
                if is_said {
                    let remedy = "it is about sockets with an address such as \"unix:/run/sluice/mqtt.sock\"";
                    table.problem(key, Wrong::new("has no meaning here", remedy));
                }
            }
            Some(ip)
        }
    }
}

fn address(base: &Path) -> impl FnOnce(&DeValue<'_>) -> Parsed<Address> {
    move |value| {
        let Some(path) = value.as_str().and_then(|text| text.strip_prefix(PREFIX)) else {
            return value::address(value).map(Address::Ip);
        };
        let path = base.join(path);
        let is_short = path.as_os_str().len() <= PATH_BYTES_MAX;
        if path.file_name().is_none() || !is_short {
            return Err(Wrong::new(
                format!("{:?} cannot be the path of a socket", path.display().to_string()),
                format!("write \"unix:\" and a path of at most {PATH_BYTES_MAX} bytes"),
            ));
        }
        Ok(Address::Unix(UnixSocket {
            path,
            mode: MODE,
            group: None,
        }))
    }
}

/// As `chmod` takes it; a number would be read as a decimal one.
fn mode(value: &DeValue<'_>) -> Parsed<u32> {
    let octal = value.as_str().filter(|text| (3..=4).contains(&text.len()));
    let mode = octal.and_then(|text| u32::from_str_radix(text, 8).ok());
    mode.filter(|mode| *mode <= 0o777 && *mode & 0o200 != 0)
        .ok_or_else(|| {
            Wrong::new(
                "is no mode of a socket that the broker itself may use",
                "write octal digits in quotes, such as \"0660\"",
            )
        })
}

const PREFIX: &str = "unix:";
/// For the broker and its group.
const MODE: u32 = 0o660;
/// Linux takes 107 bytes; the socket is made under a longer name and then renamed.
const PATH_BYTES_MAX: usize = 95;
