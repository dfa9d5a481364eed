//! The files for encryption while the broker runs: renewed ones are taken when they are right, and only then.

use crate::config::Config;
use crate::event::{Event, Events};
use crate::net::{Shared, tls};
use crate::operate::{lines, warn};
use std::time::SystemTime;

/// Reads the files that a configuration names, beside the event loop: a file system may take its time.
pub(crate) async fn load(config: Config, in_force: tls::Acceptors) -> tls::Loaded {
    let load = move || tls::Acceptors::load(&config, SystemTime::now(), &in_force);
    match tokio::task::spawn_blocking(load).await {
        Ok(loaded) => loaded,
        // Only when the broker stops, or reading has panicked: then nothing is taken.
        Err(error) => tls::Loaded {
            acceptors: tls::Acceptors::default(),
            problems: vec![crate::config::Problem {
                file: None,
                line: None,
                key: "listener".to_owned(),
                what: format!("the files for encryption could not be read: {error}"),
                remedy: String::new(),
            }],
        },
    }
}

/// What is said of files that were taken.
pub(crate) fn begun(files: &tls::FileWatch, acceptors: &tls::Acceptors, events: &Events) {
    warn(&acceptors.warnings, events);
    if let Some(problem) = &files.problem {
        let text = format!(
            "changes of the files for encryption are found within half a minute, not at once: they cannot be watched: \
             {problem}"
        );
        events.emit(Event::ConfigWarning { text: &text });
    }
}

/// Takes what has changed, listener by listener: one whose files are not right keeps what it has.
pub(crate) async fn renew(config: &Config, shared: &Shared) {
    let in_force = shared.acceptors();
    let loaded = load(config.clone(), in_force.clone()).await;
    let changed = loaded.acceptors.changed_from(&in_force).join(", ");
    shared.apply_encryption(config, &loaded.acceptors);
    warn(&loaded.acceptors.warnings, &shared.events);
    if !changed.is_empty() {
        shared.events.emit(Event::TlsReloaded { listeners: &changed });
    }
    if !loaded.problems.is_empty() {
        let error = &lines(&loaded.problems);
        shared.events.emit(Event::TlsRejected { error });
    }
}
