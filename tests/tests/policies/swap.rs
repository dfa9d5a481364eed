//! What a swap means for clients that are connected.

use crate::{gated, join, load, may_publish, sluice};
use sluice_tests::packet::{BOTH, V5, publish};

/// Asked about each topic, or having stated grants at the beginning.
const WAYS: [&str; 2] = ["{}", "{ grants = true }"];

#[test]
fn subscriptions_that_are_denied_now_are_removed_and_the_others_stay() {
    for settings in WAYS {
        for version in BOTH {
            let broker = gated("marker", settings);
            let mut subscriber = join(&broker, "gate", version);
            subscriber.subscribe("v1/news", 1);
            subscriber.subscribe("both/news", 1);
            let mut publisher = join(&broker, "calm", version);
            publisher.publish(publish("v1/news", "before").qos(1));
            subscriber.take("v1/news", "before", 1);

            load(&broker, "gate", "marker-v2");
            broker.wait_for_log("the removal of the subscription", |line| {
                line.is("subscription_removed") && line.has("filter", "v1/news") && line.has("policy", "gate")
            });
            publisher.publish(publish("v1/news", "after").qos(1));
            publisher.publish(publish("both/news", "after").qos(1));
            subscriber.take("both/news", "after", 1);

            // A removed subscription does not come back by itself.
            sluice(&broker, &["policy", "rollback", "gate"]).expect("the first module comes back");
            publisher.publish(publish("v1/news", "again").qos(1));
            publisher.publish(publish("both/news", "again").qos(1));
            subscriber.take("both/news", "again", 1);
            subscriber.subscribe("v1/news", 1);
            publisher.publish(publish("v1/news", "at last").qos(1));
            subscriber.take("v1/news", "at last", 1);
        }
    }
}

#[test]
fn publishes_are_judged_by_the_new_module_as_soon_as_the_command_has_ended() {
    for settings in WAYS {
        let broker = gated("marker", settings);
        let mut clients: Vec<_> = (0..20).map(|_| join(&broker, "gate", V5)).collect();
        for round in 0..4 {
            let (now, then) = if round % 2 == 0 {
                ("v1/x", "v2/x")
            } else {
                ("v2/x", "v1/x")
            };
            for client in &mut clients {
                assert!(may_publish(client, now), "round {round}, {settings}");
                assert!(!may_publish(client, then), "round {round}, {settings}");
            }
            load(
                &broker,
                "gate",
                if round % 2 == 0 { "marker-v2" } else { "marker" },
            );
        }
        // No client was disconnected on the way.
        for client in &mut clients {
            client.ping();
        }
    }
}

#[test]
fn the_session_of_an_absent_client_is_judged_again_too() {
    use sluice_tests::packet::connect;
    let broker = gated("marker", "{}");
    let absent = connect(V5, "absent").lasting();
    let (mut client, _) = crate::try_join(&broker, "gate", &absent);
    client.subscribe("v1/news", 1);
    client.subscribe("both/news", 1);
    client.leave();

    load(&broker, "gate", "marker-v2");
    let (mut client, connack) = crate::try_join(&broker, "gate", &absent.clone().resuming());
    client.assert(connack.session_present, "the session is resumed");
    let mut publisher = join(&broker, "calm", V5);
    publisher.publish(publish("v1/news", "no longer").qos(1));
    publisher.publish(publish("both/news", "still").qos(1));
    client.take("both/news", "still", 1);
}
