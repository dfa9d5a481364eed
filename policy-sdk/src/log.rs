//! Lines in the broker's log, attributed to the policy and rate-limited.
//!
//! ```
//! use sluice_policy::log;
//! log::info!("{} plans are configured", 3);
//! ```

/// For the policy's author.
#[doc(inline)]
pub use crate::__log_debug as debug;
/// Something is wrong and needs an operator.
#[doc(inline)]
pub use crate::__log_error as error;
/// Worth knowing.
#[doc(inline)]
pub use crate::__log_info as info;
/// Something is odd.
#[doc(inline)]
pub use crate::__log_warn as warn;

#[doc(hidden)]
#[macro_export]
macro_rules! __log_error {
    ($($arguments:tt)+) => {
        $crate::host::log::write($crate::host::log::Level::Error, &::std::format!($($arguments)+))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_warn {
    ($($arguments:tt)+) => {
        $crate::host::log::write($crate::host::log::Level::Warn, &::std::format!($($arguments)+))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_info {
    ($($arguments:tt)+) => {
        $crate::host::log::write($crate::host::log::Level::Info, &::std::format!($($arguments)+))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log_debug {
    ($($arguments:tt)+) => {
        $crate::host::log::write($crate::host::log::Level::Debug, &::std::format!($($arguments)+))
    };
}
