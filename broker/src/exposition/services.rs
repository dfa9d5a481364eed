//! What the metrics tell of services that policies ask, and of the passwords that are checked for them.

use crate::metrics::Exposition;
use crate::policy::{Policies, ServiceStatus};

type Gauge = fn(&ServiceStatus) -> u64;

pub(super) fn render(policies: &Policies, text: &mut Exposition) {
    let services = policies.services();
    for service in &services {
        for (outcome, count) in &service.requests {
            text.counter(
                "sluice_service_requests_total",
                "Requests to services that policies ask, by what became of them.",
                &[("service", &service.name), ("outcome", outcome)],
                *count,
            );
        }
    }
    for service in &services {
        text.seconds(
            "sluice_service_seconds_total",
            "Time for which requests to services were under way.",
            &[("service", &service.name)],
            service.time,
        );
    }
    let gauges: [(&str, &str, Gauge); 4] = [
        (
            "sluice_service_in_flight",
            "Requests to services that are under way.",
            |s| s.in_flight,
        ),
        (
            "sluice_service_waiting",
            "Requests to services that wait for their turn.",
            |s| s.waiting,
        ),
        (
            "sluice_service_left_alone",
            "1 while a service is not asked because it failed too often.",
            |s| s.is_left_alone.into(),
        ),
        (
            "sluice_service_cache_bytes",
            "Bytes of answers of services that are kept for reuse.",
            |s| s.cache_bytes,
        ),
    ];
    for (name, help, value) in gauges {
        for service in &services {
            text.gauge(name, help, &[("service", &service.name)], value(service));
        }
    }
    let checks = policies.password_checks();
    for (outcome, count) in [("checked", checks.checked), ("shed", checks.shed)] {
        text.counter(
            "sluice_password_checks_total",
            "Passwords that policies wanted checked, by what became of it.",
            &[("outcome", outcome)],
            count,
        );
    }
    text.gauge(
        "sluice_password_checks_waiting",
        "Passwords that wait to be checked.",
        &[],
        checks.waiting,
    );
}
