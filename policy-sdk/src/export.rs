//! Between the generated bindings and the [`Policy`] trait. Used by the `#[policy]` attribute, not by authors.

use std::marker::PhantomData;
use std::sync::OnceLock;

use crate::ask::Ask;
use crate::bindings::host::sluice::policy::{services, types as wit};
use crate::bindings::{asking, content, events, publish, publish_many, setup, subscribe};
use crate::content::ContentRequest;
use crate::policy::Policy;
use crate::publish::PublishRequest;
use crate::reason::QoS;
use crate::settings;
use crate::subscribe::SubscribeRequest;

/// The one policy of a component, empty until it is configured.
#[derive(Debug)]
pub struct Slot<P>(OnceLock<P>);

impl<P> Slot<P> {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "only ever the value of a static")]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }
}

/// Says where a component keeps its policy.
pub trait Exported: Policy {
    /// The slot.
    fn slot() -> &'static Slot<Self>;
}

/// Implements every hook of the interface with the policy of the component; only those that `#[policy]` names are
/// exported.
#[derive(Debug)]
pub struct Hooks<P>(PhantomData<P>);

#[expect(
    clippy::expect_used,
    reason = "the broker configures before it asks; a trap denies"
)]
fn policy<P: Exported>() -> &'static P {
    P::slot().0.get().expect("a hook was called before `configure`")
}

impl<P: Exported> setup::exports::sluice::policy::setup::Guest for Hooks<P> {
    fn configure(settings: String) -> Result<(), String> {
        std::panic::set_hook(Box::new(|panic| crate::host::log::panic(&panic.to_string())));
        let policy = configure::<P>(&settings)?;
        P::slot()
            .0
            .set(policy)
            .map_err(|_| "the instance is configured already".to_owned())
    }

    fn self_test() -> Result<(), String> {
        policy::<P>().self_test().map_err(|error| error.to_string())
    }
}

/// Makes a policy from its settings as JSON.
pub(crate) fn configure<P: Policy>(settings: &str) -> Result<P, String> {
    P::new(settings::parse(settings)?).map_err(|error| error.to_string())
}

impl<P: Exported> asking::exports::sluice::policy::asking::Guest for Hooks<P> {
    fn on_connect(request: wit::ConnectRequest, answers: Vec<services::Answer>) -> services::ConnectOutcome {
        on_connect(policy::<P>(), request, answers)
    }

    fn on_refresh(request: wit::RefreshRequest) -> wit::RefreshOutcome {
        policy::<P>().on_refresh(&request.into()).into()
    }
}

/// One round of `on_connect`.
pub(crate) fn on_connect<P: Policy>(
    policy: &P,
    mut request: wit::ConnectRequest,
    answers: Vec<services::Answer>,
) -> services::ConnectOutcome {
    let ask = Ask::new(std::mem::take(&mut request.nonce), answers);
    ask.run(async |ask| policy.on_connect(&request.into(), ask).await)
}

impl<P: Exported> publish::exports::sluice::policy::publish::Guest for Hooks<P> {
    fn on_publish(session: u64, tag: u64, topic: String, qos: u8, retain: bool, payload_bytes: u32) -> u64 {
        let qos = QoS::from_level(qos);
        let request = PublishRequest {
            session,
            tag,
            topic,
            qos,
            retain,
            payload_bytes,
        };
        policy::<P>().on_publish(&request).pack()
    }
}

impl<P: Exported> publish_many::exports::sluice::policy::publish_many::Guest for Hooks<P> {
    fn on_publish_many(session: u64, tag: u64, topics: String, messages: Vec<u64>) -> Vec<u64> {
        on_publish_many(policy::<P>(), (session, tag), &topics, messages)
    }
}

/// `on_publish` for one message after the other, until one is to be dealt with before the next. The verdicts take the
/// place of the messages.
pub(crate) fn on_publish_many<P: Policy>(
    policy: &P,
    (session, tag): (u64, u64),
    topics: &str,
    mut messages: Vec<u64>,
) -> Vec<u64> {
    // One for all, so that only the longest topic costs an allocation.
    let mut request = PublishRequest {
        session,
        tag,
        topic: String::new(),
        qos: QoS::AtMostOnce,
        retain: false,
        payload_bytes: 0,
    };
    let mut rest = topics;
    let mut judged = 0;
    for message in &mut messages {
        let [low, high, qos, retain, payload @ ..] = message.to_le_bytes();
        let length = usize::from(u16::from_le_bytes([low, high]));
        // What does not add up is left without a verdict, which denies.
        let Some((topic, others)) = rest.split_at_checked(length) else {
            break;
        };
        rest = others;
        request.topic.clear();
        request.topic.push_str(topic);
        request.qos = QoS::from_level(qos);
        request.retain = retain != 0;
        request.payload_bytes = u32::from_le_bytes(payload);
        let verdict = policy.on_publish(&request);
        *message = verdict.pack();
        judged += 1;
        if verdict.is_felt_at_once() {
            break;
        }
    }
    messages.truncate(judged);
    messages
}

impl<P: Exported> subscribe::exports::sluice::policy::subscribe::Guest for Hooks<P> {
    fn on_subscribe(session: u64, tag: u64, filter: String, options: u32) -> u64 {
        policy::<P>()
            .on_subscribe(&SubscribeRequest::new(session, tag, filter, options))
            .pack()
    }
}

impl<P: Exported> content::exports::sluice::policy::content::Guest for Hooks<P> {
    fn on_message(session: u64, tag: u64, message: wit::Message) -> wit::MessageOutcome {
        policy::<P>()
            .on_message(ContentRequest {
                session,
                tag,
                message,
            })
            .into()
    }
}

impl<P: Exported> events::exports::sluice::policy::events::Guest for Hooks<P> {
    fn on_event(session: u64, tag: u64, event: wit::Event) {
        policy::<P>().on_event(session, tag, &event);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::publish::Publish;

    /// Throttles large payloads, denies retained messages, and drops what is not as it was sent.
    struct Clerk;

    impl Policy for Clerk {
        type Settings = crate::NoSettings;

        fn new(_: Self::Settings) -> Result<Self, crate::Error> {
            Ok(Self)
        }

        fn on_publish(&self, request: &PublishRequest) -> Publish {
            if request.payload_bytes > 1_000 {
                Publish::throttle(Duration::from_millis(250))
            } else if request.retain {
                Publish::deny()
            } else if (request.session, request.tag, request.qos) == (7, 8, QoS::AtLeastOnce) {
                Publish::allow()
            } else {
                Publish::drop()
            }
        }
    }

    fn message(topic: &str, retain: bool, payload_bytes: u32) -> u64 {
        let [a, b] = u16::try_from(topic.len()).unwrap().to_le_bytes();
        let [c, d, e, f] = payload_bytes.to_le_bytes();
        u64::from_le_bytes([a, b, 1, retain.into(), c, d, e, f])
    }

    fn judged(topics: &str, messages: Vec<u64>) -> Vec<u64> {
        on_publish_many(&Clerk, (7, 8), topics, messages)
    }

    #[test]
    fn each_of_many_messages_is_judged_as_it_would_be_alone() {
        let messages = vec![
            message("a", false, 1),
            message("b/c", true, 1),
            message("d", false, 1_000),
        ];
        let verdicts = [Publish::allow(), Publish::deny(), Publish::allow()];
        assert_eq!(judged("ab/cd", messages), verdicts.map(Publish::pack));
    }

    #[test]
    fn what_comes_behind_a_verdict_that_is_felt_at_once_has_none() {
        let messages = vec![
            message("a", false, 1),
            message("b", false, 1_001),
            message("c", false, 1),
        ];
        let throttle = Publish::throttle(Duration::from_millis(250));
        assert_eq!(
            judged("abc", messages),
            [Publish::allow().pack(), throttle.pack()]
        );
    }

    #[test]
    fn topics_that_do_not_add_up_have_no_verdict() {
        assert_eq!(
            judged("a", vec![message("a", false, 1), message("b", false, 1)]).len(),
            1
        );
        assert_eq!(judged("ä", vec![message("a", false, 1)]).len(), 0);
    }
}
