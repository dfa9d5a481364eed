//! The process as the machine sees it: under which user it runs, what it tells the service manager, what it can reach.

mod confined;
mod service;
mod user;

/// One listener, and what else the configuration says before it.
fn config(more: &str) -> String {
    format!("{more}\n[[listener]]\nname = \"default\"\naddress = \"127.0.0.1:0\"\n")
}
