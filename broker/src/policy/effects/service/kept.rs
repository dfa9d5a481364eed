//! Answers of a service that may be given again, for as long as the policy that asked says.

use crate::policy::question::{HttpMethod, HttpRequest, HttpResponse};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// What one kept answer costs beside its body: its places in two maps.
const ENTRY_BYTES: usize = 256;

/// A question, and who asks it. A digest rather than the question, so that no password stays in memory.
pub(super) type Question = [u8; 32];

/// A bounded store of answers. When it is full the one that expires first gives way.
#[derive(Debug)]
pub(super) struct Kept {
    bytes_max: usize,
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    by_question: HashMap<Question, (HttpResponse, Instant)>,
    by_expiry: BTreeMap<(Instant, Question), ()>,
    bytes: usize,
}

/// The digest of a question. Every part is written with its length: no two questions look the same.
pub(super) fn question(policy: &str, request: &HttpRequest) -> Question {
    let mut digest = Sha256::new();
    let mut part = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    part(policy.as_bytes());
    part(match request.method {
        HttpMethod::Get => b"GET",
        HttpMethod::Post => b"POST",
        HttpMethod::Put => b"PUT",
    });
    for list in [&request.query, &request.headers] {
        part(&(list.len() as u64).to_le_bytes());
        for (name, value) in list {
            part(name.as_bytes());
            part(value.as_bytes());
        }
    }
    part(&(request.path.len() as u64).to_le_bytes());
    for segment in &request.path {
        part(segment.as_bytes());
    }
    // No type and an empty one differ.
    if let Some(content_type) = &request.content_type {
        part(content_type.as_bytes());
    }
    part(&request.body);
    digest.finalize().into()
}

impl Kept {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            answers: Mutex::default(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.answers.lock().bytes
    }

    pub(super) fn get(&self, question: &Question, now: Instant) -> Option<HttpResponse> {
        let answers = self.answers.lock();
        let (response, expires) = answers.by_question.get(question)?;
        (*expires > now).then(|| response.clone())
    }

    pub(super) fn put(&self, question: Question, response: &HttpResponse, time: Duration, now: Instant) {
        let bytes = bytes(response);
        if time.is_zero() || bytes > self.bytes_max {
            return;
        }
        let mut answers = self.answers.lock();
        answers.remove(&question);
        while answers.bytes + bytes > self.bytes_max {
            let Some(((_, first), ())) = answers.by_expiry.first_key_value() else {
                break;
            };
            let first = *first;
            answers.remove(&first);
        }
        let expires = now + time;
        answers.bytes += bytes;
        answers.by_expiry.insert((expires, question), ());
        answers.by_question.insert(question, (response.clone(), expires));
    }
}

impl Answers {
    fn remove(&mut self, question: &Question) {
        if let Some((response, expires)) = self.by_question.remove(question) {
            self.by_expiry.remove(&(expires, *question));
            self.bytes -= bytes(&response);
        }
    }
}

fn bytes(response: &HttpResponse) -> usize {
    ENTRY_BYTES + response.body.len() + response.content_type.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const SECOND: Duration = Duration::from_secs(1);

    fn request() -> HttpRequest {
        HttpRequest {
            service: "s".into(),
            method: HttpMethod::Get,
            path: Vec::new(),
            query: Vec::new(),
            headers: Vec::new(),
            content_type: None,
            body: Vec::new(),
            reuse_success_seconds: 0,
            reuse_other_seconds: 0,
        }
    }

    fn response(bytes: usize) -> HttpResponse {
        HttpResponse {
            status: 200,
            content_type: None,
            body: Bytes::from(vec![0; bytes]),
        }
    }

    #[test]
    fn an_answer_is_given_again_until_its_time_is_over() {
        let (kept, now) = (Kept::new(4096), Instant::now());
        let asked = question("p", &request());
        kept.put(asked, &response(1), SECOND, now);
        assert_eq!(kept.get(&asked, now), Some(response(1)));
        assert_eq!(kept.get(&asked, now + SECOND), None);
        kept.put(asked, &response(2), Duration::ZERO, now);
        assert_eq!(kept.get(&asked, now), Some(response(1)), "not to be kept");
    }

    #[test]
    fn what_expires_first_gives_way_and_the_bound_holds() {
        let (kept, now) = (Kept::new(3 * (ENTRY_BYTES + 100)), Instant::now());
        for number in 0..50_u8 {
            kept.put([number; 32], &response(100), SECOND * u32::from(number + 1), now);
            assert!(kept.bytes() <= 3 * (ENTRY_BYTES + 100));
        }
        let there: Vec<u8> = (0..50)
            .filter(|number| kept.get(&[*number; 32], now).is_some())
            .collect();
        assert_eq!(there, [47, 48, 49]);
        kept.put([1; 32], &response(10_000), SECOND, now);
        assert_eq!(kept.get(&[1; 32], now), None, "it would not fit at all");
        assert!(kept.get(&[49; 32], now).is_some());
    }

    #[test]
    fn the_same_question_again_replaces_the_answer() {
        let (kept, now) = (Kept::new(4096), Instant::now());
        for bytes in [1, 2, 3] {
            kept.put([0; 32], &response(bytes), SECOND, now);
        }
        assert_eq!(kept.bytes(), ENTRY_BYTES + 3);
    }

    #[test]
    fn every_part_of_a_question_counts() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let variants = [
            request(),
            HttpRequest {
                method: HttpMethod::Post,
                ..request()
            },
            HttpRequest {
                path: vec!["a".into(), "b".into()],
                ..request()
            },
            HttpRequest {
                path: vec!["ab".into()],
                ..request()
            },
            HttpRequest {
                query: vec![pair("a", "b")],
                ..request()
            },
            HttpRequest {
                query: vec![pair("ab", "")],
                ..request()
            },
            HttpRequest {
                headers: vec![pair("a", "b")],
                ..request()
            },
            HttpRequest {
                content_type: Some(String::new()),
                ..request()
            },
            HttpRequest {
                body: b"a".to_vec(),
                ..request()
            },
        ];
        let mut seen: Vec<Question> = variants.iter().map(|request| question("p", request)).collect();
        seen.push(question("q", &request()));
        let all = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), all);
    }
}
