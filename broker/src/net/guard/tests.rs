use super::records::{RECORDS_MAX, Records, Tally};
use super::watch::{Bounds, Watch, source};
use super::*;
use crate::policy::budget::Rate;
use std::time::Duration;

const UNBOUNDED: Bounds = Bounds {
    total_max: u32::MAX,
    listener_max: None,
    listener_rate: None,
    address_max: None,
    address_rate: None,
};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn from(text: &str) -> Option<Network> {
    Some(source(address(text)))
}

fn rate(per_second: u64, burst: u64) -> Option<Rate> {
    Some(Rate { per_second, burst })
}

fn threshold(count: u32, seconds: u64) -> Threshold {
    let window = Duration::from_secs(seconds);
    Threshold { count, window }
}

#[test]
fn connections_are_counted_in_all_by_listener_and_by_address() {
    let (mut watch, now) = (Watch::default(), Instant::now());
    let bounds = Bounds {
        total_max: 4,
        listener_max: Some(3),
        address_max: Some(2),
        ..UNBOUNDED
    };
    let mut enter = |listener, client| watch.enter(listener, from(client), &bounds, now);
    assert_eq!(enter("a", "192.0.2.1"), Ok(()));
    assert_eq!(enter("a", "192.0.2.1"), Ok(()));
    assert_eq!(
        enter("b", "192.0.2.1"),
        Err(Shed::AddressConnectionsMax),
        "on any listener"
    );
    assert_eq!(enter("a", "192.0.2.2"), Ok(()));
    assert_eq!(enter("a", "192.0.2.3"), Err(Shed::ListenerConnectionsMax));
    assert_eq!(enter("b", "192.0.2.3"), Ok(()));
    assert_eq!(enter("b", "192.0.2.4"), Err(Shed::ConnectionsMax));
    watch.leave("a", from("192.0.2.1"));
    assert_eq!(watch.enter("b", from("192.0.2.1"), &bounds, now), Ok(()));
}

#[test]
fn whoever_was_refused_is_not_counted() {
    let (mut watch, now) = (Watch::default(), Instant::now());
    let bounds = Bounds {
        total_max: 1,
        listener_rate: rate(1, 2),
        address_rate: rate(1, 1),
        ..UNBOUNDED
    };
    assert_eq!(watch.enter("a", from("192.0.2.1"), &bounds, now), Ok(()));
    assert_eq!(
        watch.enter("a", from("192.0.2.2"), &bounds, now),
        Err(Shed::ConnectionsMax)
    );
    watch.leave("a", from("192.0.2.1"));
    for _ in 0..10 {
        assert_eq!(
            watch.enter("a", from("192.0.2.1"), &bounds, now),
            Err(Shed::AddressRate)
        );
    }
    assert_eq!(
        watch.enter("a", from("192.0.2.2"), &bounds, now),
        Ok(()),
        "the listener's rate is left to others"
    );
    watch.leave("a", from("192.0.2.2"));
    assert_eq!(
        watch.enter("a", from("192.0.2.3"), &bounds, now),
        Err(Shed::ListenerRate)
    );
    assert_eq!(watch.enter("b", from("192.0.2.3"), &bounds, now), Ok(()));
}

#[test]
fn rates_let_in_so_many_a_second_and_a_burst_after_a_pause() {
    let (mut watch, begin) = (Watch::default(), Instant::now());
    let bounds = Bounds {
        address_rate: rate(2, 5),
        ..UNBOUNDED
    };
    let mut let_in = |milliseconds: u64| {
        let now = begin + Duration::from_millis(milliseconds);
        (0..100)
            .filter(|_| {
                let entered = watch.enter("a", from("192.0.2.1"), &bounds, now).is_ok();
                if entered {
                    watch.leave("a", from("192.0.2.1"));
                }
                entered
            })
            .count()
    };
    assert_eq!([0, 100, 500, 1_000, 60_000].map(&mut let_in), [5, 0, 1, 1, 5]);
}

#[test]
fn an_ipv6_network_is_one_address_and_ipv4_is_ipv4_however_it_is_carried() {
    assert_eq!(
        source(address("2001:db8::1")),
        source(address("2001:db8::ffff:2"))
    );
    assert_ne!(source(address("2001:db8::1")), source(address("2001:db8:0:1::1")));
    assert_eq!(source(address("::ffff:192.0.2.1")), source(address("192.0.2.1")));
    assert_ne!(source(address("192.0.2.1")), source(address("192.0.2.2")));
}

#[test]
fn failures_are_too_many_within_the_window_and_forgiven_with_time() {
    let (mut watch, begin) = (Watch::default(), Instant::now());
    let client = source(address("192.0.2.1"));
    let mut failed = |seconds| watch.failed(client, threshold(5, 60), begin + Duration::from_secs(seconds));
    assert_eq!([0, 1, 2, 3].map(&mut failed), [false; 4]);
    assert!(failed(4), "the fifth of a few seconds");
    assert_eq!([5, 6, 7, 8].map(&mut failed), [false; 4], "it begins anew");
    assert!(!failed(120), "two minutes are enough to forget");
    let rare = (0..100).any(|hour| failed(3_600 * (hour + 1)));
    assert!(!rare, "one an hour is never too many");
}

#[test]
fn a_million_addresses_cost_no_more_than_the_table_and_the_persistent_are_remembered() {
    let now = Instant::now();
    let mut watch = Watch::default();
    let persistent = source(address("192.0.2.1"));
    let mut caught = false;
    for number in 0..1_000_000u32 {
        let other = source(IpAddr::from(number.to_be_bytes()));
        watch.failed(other, threshold(5, 3_600), now);
        if number.is_multiple_of(10_000) {
            caught |= watch.failed(persistent, threshold(50, 3_600), now);
        }
        assert!(watch.size() <= RECORDS_MAX);
    }
    assert!(caught, "who keeps coming is not pushed out");
}

#[test]
fn nothing_is_kept_of_addresses_without_a_connection_unless_a_rate_asks_for_it() {
    let (mut watch, now) = (Watch::default(), Instant::now());
    for number in 0..1_000u32 {
        let client = Some(source(IpAddr::from(number.to_be_bytes())));
        assert_eq!(watch.enter("a", client, &UNBOUNDED, now), Ok(()));
        watch.leave("a", client);
    }
    assert_eq!(watch.size(), 0);
}

#[test]
fn a_record_that_is_asked_for_moves_with_the_recent_ones() {
    let (mut records, now) = (Records::<usize, Tally>::default(), Instant::now());
    let mut happened = 0;
    for name in 1..=2 * RECORDS_MAX {
        assert!(!records.of(name).exceeds(threshold(100, 60), now));
        if name.is_multiple_of(RECORDS_MAX / 4) {
            happened += 1;
            assert!(!records.of(0).exceeds(threshold(100, 60), now));
        }
        assert!(records.len() <= RECORDS_MAX);
    }
    assert!(
        records.of(0).exceeds(threshold(happened + 1, 60), now),
        "nothing was forgotten"
    );
    assert!(!records.of(1).exceeds(threshold(2, 60), now), "that was");
}

#[test]
fn a_pass_counts_until_it_is_dropped_and_the_exempt_count_nowhere() {
    let rules = config::Guard {
        exempt: vec!["10.0.0.0/8".parse().expect("a network")],
        failures: Some(threshold(1, 60)),
        ..config::Guard::default()
    };
    let guard = Arc::new(Guard::new(&rules, Arc::default()));
    let bounds = Bounds {
        total_max: 3,
        address_max: Some(1),
        ..UNBOUNDED
    };
    let listener: Arc<str> = "a".into();
    let enter = |client: &str| guard.enter(&listener, Some(address(client)), &bounds);
    let first = enter("192.0.2.1").expect("there is room");
    assert_eq!(enter("192.0.2.1").err(), Some(Shed::AddressConnectionsMax));
    drop(first);
    let _again = enter("192.0.2.1").expect("there is room again");
    let _exempt = [enter("10.0.0.1"), enter("10.0.0.1")].map(|pass| pass.expect("it is exempt"));
    assert_eq!(guard.failed(address("10.0.0.1")), None);
    let sentence = guard.failed(address("192.0.2.1")).expect("once is too often");
    assert_eq!(sentence.source, from("192.0.2.1"));
    assert_eq!(
        enter("10.0.0.1").err(),
        Some(Shed::ConnectionsMax),
        "that holds for all"
    );

    let mut proxied = Arc::new(Guard::new(&rules, Arc::default()))
        .enter(&listener, None, &bounds)
        .expect("nobody is there");
    assert_eq!(proxied.come_from(address("192.0.2.1"), &bounds), Ok(()));
}
