//! Records as lines. Pure.

use std::fmt::{self, Write as _};

use super::{Format, Record, Timestamp, Value};

/// One whole line, with its newline. Nothing in a field can break out of the line.
pub(super) fn line(format: Format, now: Timestamp, record: &Record<'_>) -> Vec<u8> {
    let mut line = Line(String::with_capacity(320));
    let written = match format {
        Format::Text => line.text(now, record),
        Format::Json => line.json(now, record),
    };
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
    line.0.push('\n');
    line.0.into_bytes()
}

struct Line(String);

impl Line {
    fn text(&mut self, now: Timestamp, record: &Record<'_>) -> fmt::Result {
        write!(
            self.0,
            "{now}\t{}\t{}\t{}",
            record.level.as_str(),
            record.target,
            record.message
        )?;
        for (at, (name, value)) in record.fields.iter().enumerate() {
            self.0.push(if at == 0 { '\t' } else { ' ' });
            write!(self.0, "{name}=")?;
            match value {
                Value::Text(text) => self.quoted(text)?,
                Value::Bare(bare) => write!(self.0, "{bare}")?,
                Value::Number(number) => write!(self.0, "{number}")?,
            }
        }
        Ok(())
    }

    fn json(&mut self, now: Timestamp, record: &Record<'_>) -> fmt::Result {
        write!(
            self.0,
            r#"{{"level":"{}","time":"{now}","scope":"#,
            record.level.as_str()
        )?;
        self.quoted(record.target)?;
        self.0.push_str(r#","message":"#);
        self.quoted(record.message)?;
        for (name, value) in record.fields {
            self.0.push(',');
            self.quoted(name)?;
            self.0.push(':');
            match value {
                Value::Text(text) => self.quoted(text)?,
                Value::Bare(bare) => self.quoted(&bare.to_string())?,
                Value::Number(number) => write!(self.0, "{number}")?,
            }
        }
        self.0.push('}');
        Ok(())
    }

    /// A JSON string; in text lines, the same escapes keep a value on its line.
    fn quoted(&mut self, text: &str) -> fmt::Result {
        self.0.push('"');
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '\r' => self.0.push_str("\\r"),
                '\t' => self.0.push_str("\\t"),
                c if c.is_control() => write!(self.0, "\\u{:04x}", u32::from(c))?,
                c => self.0.push(c),
            }
        }
        self.0.push('"');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use proptest::prelude::*;
    use std::net::SocketAddr;
    use std::time::{Duration, UNIX_EPOCH};

    fn at() -> Timestamp {
        Timestamp(UNIX_EPOCH + Duration::from_micros(1_714_557_600_123_456))
    }

    fn golden(format: Format) -> String {
        let source: SocketAddr = "10.0.0.1:4000".parse().unwrap();
        let fields = [
            ("src.addr", Value::Bare(&source)),
            ("src.workload", Value::Text("curl-1")),
            ("bytes_sent", Value::Number(84)),
        ];
        let record = Record {
            level: Level::Info,
            target: "access",
            message: "connection complete",
            fields: &fields,
        };
        String::from_utf8(line(format, at(), &record)).unwrap()
    }

    /// The text format of specification §12.3.
    #[test]
    fn text_lines_have_istios_format() {
        assert_eq!(
            golden(Format::Text),
            "2024-05-01T10:00:00.123456Z\tinfo\taccess\tconnection complete\t\
             src.addr=10.0.0.1:4000 src.workload=\"curl-1\" bytes_sent=84\n"
        );
    }

    /// The JSON format of specification §12.3.
    #[test]
    fn json_lines_have_istios_format() {
        assert_eq!(
            golden(Format::Json),
            r#"{"level":"info","time":"2024-05-01T10:00:00.123456Z","scope":"access","message":"connection complete","src.addr":"10.0.0.1:4000","src.workload":"curl-1","bytes_sent":84}"#
                .to_owned()
                + "\n"
        );
    }

    proptest! {
        /// Whatever a field holds, a line is one line, and a JSON line parses back to the value.
        #[test]
        fn no_value_breaks_out_of_its_line(text in any::<String>()) {
            let fields = [("error", Value::Text(&text))];
            let record = Record { level: Level::Warn, target: "zds", message: "m", fields: &fields };

            let plain = String::from_utf8(line(Format::Text, at(), &record)).unwrap();
            let json = line(Format::Json, at(), &record);

            prop_assert_eq!(plain.matches('\n').count(), 1);
            let json = String::from_utf8(json).unwrap();
            prop_assert_eq!(json.matches('\n').count(), 1);
            let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(parsed["error"].as_str().unwrap(), text);
        }
    }
}
