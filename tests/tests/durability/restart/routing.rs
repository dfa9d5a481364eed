//! Subscriptions, with all that a client may have said about them.

use super::{both_ends, resume};
use sluice_tests::broker::Broker;
use sluice_tests::guests;
use sluice_tests::packet::{
    BOTH, NO_LOCAL, RETAIN_AS_PUBLISHED, RETAIN_IF_NEW, V5, connect, publish, subscribe,
};
use sluice_tests::property::Property;
use sluice_tests::receiving::{everything, payloads};

#[test]
fn subscriptions_are_there_and_those_that_were_ended_are_not() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        for version in BOTH {
            let (mut client, _) = broker.join(&connect(version, format!("{version:?}")).lasting());
            client.subscribe("a/+", 1);
            client.subscribe("b/#", 0);
            client.subscribe("c", 2);
            client.subscribe("c", 1);
            client.unsubscribe("a/+");
        }
        broker.restart(signal);
        let mut clients = BOTH.map(|version| {
            let packet = connect(version, format!("{version:?}")).lasting();
            resume(&broker, &packet)
        });
        let mut publisher = broker.client(V5);
        for topic in ["a/x", "b/x", "c"] {
            publisher.publish(publish(topic, topic).qos(2));
        }
        for client in &mut clients {
            let came = everything(client);
            let came: Vec<_> = came
                .iter()
                .map(|delivered| (&*delivered.topic, delivered.qos))
                .collect();
            assert_eq!(came, [("b/x", 0), ("c", 1)]);
        }
    });
}

// v5[3.1.2-4]
#[test]
fn a_clean_start_that_was_answered_is_not_undone() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        for lasting in [false, true] {
            let packet = connect(V5, format!("beginner-{lasting}")).lasting();
            let (mut client, _) = broker.join(&packet);
            client.subscribe("t", 1);
            client.leave();
        }
        broker.client(V5).publish(publish("t", "x").qos(1));
        let clients = [false, true].map(|lasting| {
            let packet = connect(V5, format!("beginner-{lasting}"));
            let mut packet = if lasting { packet.lasting() } else { packet };
            packet.clean_start = true;
            broker.join(&packet)
        });
        broker.restart(signal);
        drop(clients);
        for lasting in [false, true] {
            let packet = connect(V5, format!("beginner-{lasting}")).lasting();
            let (mut client, connack) = broker.join(&packet);
            let is_right = connack.session_present == lasting;
            client.assert(is_right, "the session is the one that was begun");
            assert!(
                everything(&mut client).is_empty(),
                "and nothing is left of the one before"
            );
        }
    });
}

#[test]
fn subscription_options_and_identifiers_are_kept() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let packet = connect(V5, "careful").lasting();
        let (mut client, _) = broker.join(&packet);
        let requests = [
            ("plain", 1, 1),
            ("as-published", 1 | RETAIN_AS_PUBLISHED, 2),
            ("not-mine", 1 | NO_LOCAL, 268_435_455),
            ("+", 0, 77),
            ("if-new", 1 | RETAIN_IF_NEW, 3),
        ];
        for (filter, options, id) in requests {
            let packet_id = client.next_packet_id();
            let request = subscribe(packet_id).filter(filter, options);
            let codes = client.request_subscription(request.property(Property::SubscriptionId(id)));
            assert_eq!(codes, [options & 3]);
        }
        broker.restart(signal);
        let mut client = resume(&broker, &packet);
        let mut publisher = broker.client(V5);
        for topic in ["plain", "as-published", "not-mine", "if-new"] {
            publisher.publish(publish(topic, topic).qos(1).retain());
        }
        let packet_id = client.next_packet_id();
        client.send(publish("not-mine", "from itself").qos(1).id(packet_id));
        let came: Vec<_> = everything(&mut client)
            .into_iter()
            .map(|delivered| {
                let payload = String::from_utf8_lossy(&delivered.payload).into_owned();
                (
                    payload,
                    delivered.subscription_ids(),
                    delivered.retain,
                    delivered.qos,
                )
            })
            .collect();
        let expected = [
            ("plain".to_owned(), vec![1, 77], false, 1),
            ("as-published".to_owned(), vec![2, 77], true, 1),
            ("not-mine".to_owned(), vec![77, 268_435_455], false, 1),
            ("if-new".to_owned(), vec![3, 77], false, 1),
            // Its other subscription does not mind.
            ("from itself".to_owned(), vec![77], false, 0),
        ];
        assert_eq!(came, expected);
        // The subscription is there, so it is not new, and what is retained is not sent [MQTT-3.3.1-10].
        client.subscribe("if-new", 1 | RETAIN_IF_NEW);
        assert!(everything(&mut client).is_empty());
    });
}

#[test]
fn no_local_knows_the_clients_own_messages_that_wait_since_before() {
    let mut broker = Broker::durable("");
    let packet = connect(V5, "itself").lasting();
    let (mut client, _) = broker.join(&packet);
    client.subscribe("t", 1 | NO_LOCAL);
    broker.restart(sluice_tests::broker::Signal::TERM);
    let mut client = resume(&broker, &packet);
    client.publish(publish("t", "mine").qos(1));
    broker.client(V5).publish(publish("t", "another's").qos(1));
    assert_eq!(payloads(&everything(&mut client)), ["another's"]);
}

#[test]
fn a_shared_subscription_gives_each_message_to_one_of_its_members() {
    both_ends(|signal| {
        let mut broker = Broker::durable("");
        let members = [0, 1, 2].map(|index| connect(V5, format!("member-{index}")).lasting());
        for member in &members {
            let (mut client, _) = broker.join(member);
            client.subscribe("$share/group/t", 1);
            client.leave();
        }
        for number in 1..=6 {
            broker.client(V5).publish(publish("t", number.to_string()).qos(1));
        }
        broker.restart(signal);
        for number in 7..=12 {
            broker.client(V5).publish(publish("t", number.to_string()).qos(1));
        }
        let mut all: Vec<usize> = Vec::new();
        for member in &members {
            let came = payloads(&everything(&mut resume(&broker, member)));
            let came: Vec<usize> = came.iter().filter_map(|payload| payload.parse().ok()).collect();
            assert!(
                came.len() >= 2 && came.is_sorted(),
                "each in turn, in order: {came:?}"
            );
            all.extend(came);
        }
        all.sort_unstable();
        assert_eq!(all, (1..=12).collect::<Vec<_>>());
    });
}

#[test]
fn a_session_keeps_its_mount_point() {
    both_ends(|signal| {
        let config = "data_dir = \"data\"\npolicies = [\"prefix\"]\n\
             [[listener]]\nname = \"mounted\"\naddress = \"127.0.0.1:0\"\n\
             [[listener]]\nname = \"plain\"\naddress = \"127.0.0.1:0\"\npolicies = [\"users\"]\n\
             [policy.prefix]\nfile = \"prefix.wasm\"\nsettings = { prefix = \"of/{client}/\" }\n";
        let mut broker = Broker::with_files(config, &[("prefix.wasm", &guests::wasm("topic-prefix"))]);
        let packet = connect(V5, "tenant").lasting();
        let join = |broker: &Broker| {
            let mut client = sluice_tests::peer::Peer::open(broker.listener("mounted"), V5);
            client.send(&packet);
            let connack = client.expect_connack();
            client.assert(connack.code == 0, "admitted");
            (client, connack.session_present)
        };
        let plain = |broker: &Broker| {
            let mut client = sluice_tests::peer::Peer::open(broker.listener("plain"), V5);
            client.send(connect(V5, "plain"));
            client.expect_connack();
            client
        };
        let (mut client, _) = join(&broker);
        client.subscribe("t", 1);
        client.leave();
        plain(&broker).publish(publish("of/tenant/t", "before").qos(1));
        broker.restart(signal);
        plain(&broker).publish(publish("of/tenant/t", "after").qos(1));
        plain(&broker).publish(publish("t", "another's").qos(1));
        let (mut client, session_present) = join(&broker);
        client.assert(session_present, "its session is there");
        let came = everything(&mut client);
        assert_eq!(payloads(&came), ["before", "after"]);
        client.assert(
            came.iter().all(|delivered| delivered.topic == "t"),
            "without the mount point",
        );
    });
}
