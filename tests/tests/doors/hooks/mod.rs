//! Every hook of a policy is asked at every door, for clients of 3.1.1 and of 5.0. The policy is `usher`; its
//! documentation says what it does.

mod house;
mod wills;

use house::{DOORS, Door, House, at_every_door, each};
use sluice_tests::packet::{Encode, V5, auth, connect, publish, subscribe};
use sluice_tests::peer::Peer;
use sluice_tests::property::Property::{self, AuthData, AuthMethod};
use sluice_tests::{eventually, unique};

fn challenge(peer: &mut Peer) -> Vec<u8> {
    let challenge = peer.expect_auth();
    peer.assert(challenge.reason == 0x18, "Continue authentication");
    let data = challenge
        .properties
        .into_iter()
        .find_map(|property| match property {
            AuthData(data) => Some(data),
            _ => None,
        });
    data.expect("a challenge has words")
}

fn answer(peer: &mut Peer, mut words: Vec<u8>) {
    words.reverse();
    peer.send(auth(0x18, "echo").property(Property::AuthData(words)));
}

#[test]
fn connects_are_judged_by_what_is_seen_of_the_peer_at_every_door() {
    at_every_door("on-connect", |visitor| {
        visitor.enter().ping();
        let truth = visitor.door.seen();
        for lie in DOORS.iter().map(Door::seen).filter(|lie| *lie != truth) {
            let liar = connect(visitor.version, unique("liar")).username(lie);
            visitor.is_turned_away(&liar, 0x87);
        }
    });
}

#[test]
fn publishes_are_judged_at_every_door() {
    at_every_door("on-publish", |visitor| {
        let name = unique("");
        let (allowed, refused) = (format!("open/{name}"), format!("refused/{name}"));
        let mut watcher = visitor.house.watcher();
        watcher.subscribe(&format!("+/{name}"), 0);
        let mut client = visitor.enter();
        for qos in 0..3 {
            let message = |topic: &str| publish(topic, [qos]).qos(qos);
            let reason = client.try_publish(message(&refused));
            let expected = if qos == 0 { 0 } else { visitor.acknowledged(0x87) };
            client.assert(reason == expected, "a refused topic is not authorized");
            client.publish(message(&allowed));
            watcher.expect_message(&allowed, [qos]);
        }
    });
}

#[test]
fn messages_that_come_together_are_judged_one_by_one_at_every_door() {
    at_every_door("on-publish-many", |visitor| {
        let name = unique("");
        let (allowed, refused) = (format!("open/{name}"), format!("refused/{name}"));
        let mut watcher = visitor.house.watcher();
        watcher.subscribe(&format!("+/{name}"), 0);
        let good = publish(&allowed, "good");
        let (bad, poison) = (publish(&refused, "bad"), publish(&allowed, "poison"));
        let water = publish(&allowed, "water");
        let together: [&dyn Encode; 4] = [&good, &bad, &poison, &water];
        let mut client = visitor.enter();
        client.send_all(&together.repeat(4));
        for _ in 0..4 {
            watcher.expect_message(&allowed, "good");
            watcher.expect_message(&allowed, "wine");
        }
        client.ping();
        watcher.expect_silence();
    });
}

#[test]
fn subscriptions_are_judged_at_every_door() {
    at_every_door("on-subscribe", |visitor| {
        let mut client = visitor.enter();
        let packet = subscribe(1)
            .filter("open/a", 1)
            .filter("refused/a", 1)
            .filter("lowered/a", 2);
        let codes = client.request_subscription(packet);
        let refused = if visitor.version == V5 { 0x87 } else { 0x80 };
        client.assert(codes == [1, refused, 0], "granted, refused and lowered");
    });
}

#[test]
fn messages_are_looked_into_at_every_door() {
    at_every_door("on-message", |visitor| {
        let mut client = visitor.enter();
        let topic = unique("open/");
        client.subscribe(&topic, 0);
        let refused = client.try_publish(publish(&topic, "poison").qos(1));
        client.assert(refused == visitor.acknowledged(0x99), "the payload is refused");
        for (payload, expected) in [("water", "wine"), ("bread", "bread")] {
            client.send(publish(&topic, payload));
            client.expect_message(&topic, expected);
        }
    });
}

#[test]
fn clients_authenticate_in_rounds_and_again_at_every_door() {
    let house = House::open();
    let of_5_0 = house.visitors().into_iter().filter(|one| one.version == V5);
    let of_5_0 = of_5_0.map(|visitor| (visitor, ()));
    each("enhanced authentication", of_5_0, |visitor, ()| {
        let packet = || visitor.hello("client").property(AuthMethod("echo".to_owned()));
        let mut client = visitor.knock();
        client.send(packet());
        let words = challenge(&mut client);
        answer(&mut client, words);
        assert_eq!(client.expect_connack().code, 0);
        client.send(auth(0x19, "echo"));
        let words = challenge(&mut client);
        answer(&mut client, words);
        assert_eq!(client.expect_auth().reason, 0);
        client.ping();
        client.send(auth(0x19, "echo"));
        challenge(&mut client);
        answer(&mut client, b"wrong".to_vec());
        client.expect_disconnected(&[0x87]);

        let mut stranger = visitor.knock();
        stranger.send(packet());
        challenge(&mut stranger);
        answer(&mut stranger, b"wrong".to_vec());
        stranger.expect_not_admitted(&[0x87]);
    });
}

#[test]
fn events_are_told_at_every_door() {
    at_every_door("on-event", |visitor| {
        let packet = visitor.hello("witness");
        let client = visitor.join(&packet);
        let counted = |what| visitor.house.counted(what, &packet);
        eventually("it is told who came", || counted("connected") == 1);
        assert_eq!(counted("disconnected"), 0);
        client.vanish();
        eventually("and who left", || counted("disconnected") == 1);
    });
}

#[test]
fn budgets_are_enforced_at_every_door() {
    at_every_door("a budget", |visitor| {
        let mut small = visitor.join(&visitor.hello("small"));
        small.publish(publish("open/a", [7; 400]).qos(1));
        small.send(publish("open/a", [7; 600]));
        small.expect_disconnected(&[0x95]);
        let mut hasty = visitor.join(&visitor.hello("hasty"));
        // In one piece: what came after the broker has closed would be answered by a reset.
        let message = publish("open/a", "x");
        hasty.send_all(&[&message, &message, &message]);
        hasty.expect_disconnected(&[0x96]);
        let mut other = visitor.enter();
        other.publish(publish("open/a", [7; 600]).qos(1));
    });
}

#[test]
fn sessions_are_judged_again_after_a_swap_at_every_door() {
    let house = House::open();
    let clients: Vec<_> = house
        .visitors()
        .into_iter()
        .map(|visitor| {
            let joined = ["stayer", "leaver"].map(|name| {
                let packet = visitor.hello(name);
                (visitor.join(&packet), packet)
            });
            (visitor, joined)
        })
        .collect();
    house.replace_policy();
    each(
        "on-refresh",
        clients,
        |_, [(mut stayer, staying), (mut leaver, leaving)]| {
            for client in [&staying, &leaving] {
                eventually("it is judged", || house.counted("refreshed", client) == 1);
            }
            leaver.expect_disconnected(&[0x87]);
            stayer.ping();
        },
    );
}
