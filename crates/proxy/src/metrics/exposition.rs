//! The text format of metrics pages (`OpenMetrics`).

use std::fmt::{Display, Write as _};

/// What a metric counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Only grows; its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A page of metrics under construction.
#[derive(Default)]
pub(crate) struct Exposition(String);

/// The value of a label where nothing is known (Istio's word).
const UNKNOWN: &str = "unknown";

impl Exposition {
    /// Begins a metric. `help` is one sentence without its full stop.
    pub(crate) fn family(&mut self, name: &str, help: &str, kind: Kind) -> Family<'_> {
        let text = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.put(format_args!(
            "# HELP {name} {help}.\n# TYPE {name} {text}\n"
        ));
        let suffix = if kind == Kind::Counter { "_total" } else { "" };
        Family {
            page: self,
            name: format!("{name}{suffix}"),
        }
    }

    /// The whole page.
    pub(crate) fn finish(mut self) -> String {
        self.0.push_str("# EOF\n");
        self.0
    }

    fn put(&mut self, arguments: std::fmt::Arguments<'_>) {
        let written = self.0.write_fmt(arguments);
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
}

/// The samples of one metric.
pub(crate) struct Family<'a> {
    page: &'a mut Exposition,
    name: String,
}

impl Family<'_> {
    /// A sample; `labels` is empty or the text of [`push_label`]s.
    pub(crate) fn sample(&mut self, labels: &str, value: impl Display) -> &mut Self {
        let name = &self.name;
        match labels {
            "" => self.page.put(format_args!("{name} {value}\n")),
            labels => self.page.put(format_args!("{name}{{{labels}}} {value}\n")),
        }
        self
    }
}

/// Appends `name="value"` to the text of a label set; an empty value is `unknown`.
pub(crate) fn push_label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() && !labels.ends_with(',') {
        labels.push(',');
    }
    labels.push_str(name);
    labels.push_str("=\"");
    let value = if value.is_empty() { UNKNOWN } else { value };
    if value.contains(['"', '\\', '\n']) {
        for c in value.chars() {
            match c {
                '"' => labels.push_str("\\\""),
                '\\' => labels.push_str("\\\\"),
                '\n' => labels.push_str("\\n"),
                c => labels.push(c),
            }
        }
    } else {
        labels.push_str(value);
    }
    labels.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text is what a Prometheus server reads, byte for byte.
    #[test]
    fn a_page_is_openmetrics_text() {
        let mut page = Exposition::default();
        let mut labels = String::new();
        push_label(&mut labels, "reason", "say \"no\"\n");
        push_label(&mut labels, "empty", "");

        page.family(
            "ambimesh_connections_closed",
            "Connections closed, by reason",
            Kind::Counter,
        )
        .sample(&labels, 3);
        page.family("process_open_fds", "Open descriptors", Kind::Gauge)
            .sample("", 12);

        let expected = "# HELP ambimesh_connections_closed Connections closed, by reason.\n\
             # TYPE ambimesh_connections_closed counter\n\
             ambimesh_connections_closed_total{reason=\"say \\\"no\\\"\\n\",empty=\"unknown\"} 3\n\
             # HELP process_open_fds Open descriptors.\n\
             # TYPE process_open_fds gauge\n\
             process_open_fds 12\n\
             # EOF\n";
        assert_eq!(page.finish(), expected);
    }
}
