//! What Prometheus reads.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::State;
use crate::models::Counts;

/// Requests that are over. Routes are those of the router, so there are few.
#[derive(Default)]
pub(super) struct Counters(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    requests: BTreeMap<(String, u16), u64>,
    seconds: BTreeMap<String, f64>,
    aborted: u64,
}

impl Counters {
    pub(super) fn count(&self, route: &str, status: u16, aborted: bool, time: Duration) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counted.requests.entry((route.to_owned(), status)).or_default() += 1;
        *counted.seconds.entry(route.to_owned()).or_default() += time.as_secs_f64();
        counted.aborted += u64::from(aborted);
    }
}

/// Text in Prometheus' format, written by hand.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, ty: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP qwip_{name} {help}\n# TYPE qwip_{name} {ty}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        let _ = write!(self.0, "qwip_{name}");
        for (i, (label, text)) in labels.iter().enumerate() {
            let text = text.to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if i == 0 { '{' } else { ',' });
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn single(&mut self, name: &str, ty: &str, help: &str, value: impl Display) {
        self.head(name, ty, help);
        self.value(name, &[], value);
    }
}

pub(super) async fn text(Shared(state): Shared<Arc<State>>) -> Response {
    let mut page = Page::default();
    requests(&mut page, &state.counters);
    totals(&mut page, &state.models.totals().counts());
    models(&mut page, &state);
    page.single("uptime_seconds", "gauge", "Time since the server began.", state.started.elapsed().as_secs());
    if let Some(bytes) = resident() {
        page.single("process_resident_bytes", "gauge", "Memory of the process, mapped files too.", bytes.0);
        page.single("process_anonymous_bytes", "gauge", "Memory of the process, files not counted.", bytes.1);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.0).into_response()
}

fn requests(page: &mut Page, counters: &Counters) {
    let counted = counters.0.lock().unwrap_or_else(PoisonError::into_inner);
    page.head("requests_total", "counter", "Requests that are over.");
    for ((route, status), count) in &counted.requests {
        page.value("requests_total", &[("route", route), ("status", status)], count);
    }
    page.head("request_seconds_total", "counter", "Time of these requests, streams to their end.");
    for (route, seconds) in &counted.seconds {
        page.value("request_seconds_total", &[("route", route)], seconds);
    }
    page.single(
        "requests_aborted_total",
        "counter",
        "Those whose client went before the end.",
        counted.aborted,
    );
}

fn totals(page: &mut Page, counts: &Counts) {
    let counters = [
        ("prompt_tokens_total", "Tokens of prompts.", counts.prompt_tokens),
        ("cached_tokens_total", "Those that did not have to be computed.", counts.cached_tokens),
        ("answer_tokens_total", "Tokens of answers.", counts.answer_tokens),
        ("texts_total", "Texts embedded and documents judged.", counts.texts),
        ("text_tokens_total", "Their tokens.", counts.text_tokens),
        ("model_loads_total", "Models loaded.", counts.loads),
    ];
    for (name, help, value) in counters {
        page.single(name, "counter", help, value);
    }
    let seconds = [
        ("queue_seconds_total", "Time that answers waited for their turn.", counts.queue_seconds),
        ("prompt_seconds_total", "Time in which prompts were read.", counts.prompt_seconds),
        ("answer_seconds_total", "Time in which answers were made.", counts.answer_seconds),
    ];
    for (name, help, value) in seconds {
        page.single(name, "counter", help, value);
    }
    page.head("answers_total", "counter", "Answers that are over, by how they ended.");
    let outcomes = [
        ("stop", counts.stopped),
        ("length", counts.full),
        ("cancelled", counts.cancelled),
        ("repetition", counts.repeated),
        ("failed", counts.failed),
    ];
    for (outcome, count) in outcomes {
        page.value("answers_total", &[("outcome", &outcome)], count);
    }
}

fn models(page: &mut Page, state: &State) {
    let running = state.models.running();
    let (used, limit) = (state.models.kv_used(), state.models.settings().kv_memory);
    page.single("kv_used_bytes", "gauge", "Keys and values of all models, those that are kept too.", used);
    page.single("kv_limit_bytes", "gauge", "Their limit.", limit);
    page.single("models_loaded", "gauge", "Models that are loaded.", running.len());
    type Gauge = (&'static str, &'static str, fn(&crate::models::Running) -> u64);
    let gauges: [Gauge; 6] = [
        ("sequences", "Answers that are being computed.", |r| r.sequences as u64),
        ("waiting", "Requests that wait for their turn.", |r| r.waiting as u64),
        ("kept", "Answers that are kept for the next turn.", |r| r.kept as u64),
        ("model_kv_bytes", "Keys and values of the model.", |r| r.kv_used),
        ("model_file_bytes", "Mapped bytes of the model.", |r| r.bytes),
        ("model_memory_bytes", "Memory beside them.", |r| r.memory),
    ];
    for (name, help, of) in gauges {
        page.head(name, "gauge", help);
        for model in &running {
            page.value(name, &[("model", &model.name)], of(model));
        }
    }
}

/// Resident bytes of this process, and those of them that are no file's, where the system says.
fn resident() -> Option<(u64, u64)> {
    #[cfg(target_os = "linux")]
    {
        let text = std::fs::read_to_string("/proc/self/status").ok()?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
        };
        Some((field("VmRSS")?, field("RssAnon")?))
    }
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_labels_are_as_prometheus_wants_them() {
        let counters = Counters::default();
        counters.count("/v1/\"x\"", 200, true, Duration::from_millis(500));
        counters.count("/v1/\"x\"", 200, false, Duration::from_millis(500));
        let mut page = Page::default();
        requests(&mut page, &counters);
        assert!(page.0.contains("# TYPE qwip_requests_total counter\n"));
        assert!(
            page.0.contains("qwip_requests_total{route=\"/v1/\\\"x\\\"\",status=\"200\"} 2\n"),
            "{}",
            page.0
        );
        assert!(page.0.contains("qwip_requests_aborted_total 1\n"));
        totals(&mut page, &Counts { prompt_tokens: 5, stopped: 2, ..Counts::default() });
        assert!(page.0.contains("qwip_prompt_tokens_total 5\n"));
        assert!(page.0.contains("qwip_answers_total{outcome=\"stop\"} 2\n"));
    }
}
