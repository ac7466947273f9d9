//! `/logging`: show and change what is logged.

use hyper::{Method, StatusCode};

use crate::http::{Answer, Asked};
use crate::log::{FilterError, Log};

const USAGE: &str = "usage: POST /logging\t\t\t\t\t\t(To list current level)\n\
     usage: POST /logging?level=<level>\t\t\t\t(To change global levels)\n\
     usage: POST /logging?level={mod1}={level1},{mod2}={level2}\t(To change specific mods' logging level)\n\
     usage: POST /logging?reset\t\t\t\t\t(To reset levels to those of the start)\n\n\
     levels: error, warn, info, debug, trace, off\n";

/// Answers one request. Source: node-proxy specification §12.4.
pub(super) fn answer(log: &Log, asked: &Asked) -> Answer {
    if asked.method != Method::POST {
        return Answer::text(
            StatusCode::METHOD_NOT_ALLOWED,
            format!("Invalid HTTP method\n {USAGE}"),
        );
    }
    match change(log, &asked.query) {
        Ok(()) => Answer::text(
            StatusCode::OK,
            format!("current log level is {}\n", log.filter()),
        ),
        Err(error) => Answer::text(
            StatusCode::BAD_REQUEST,
            format!("Invalid level provided: {error}\n{USAGE}"),
        ),
    }
}

fn change(log: &Log, query: &str) -> Result<(), FilterError> {
    let parameters: Vec<(&str, String)> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or((part, "")))
        .map(|(name, value)| (name, percent_decoded(value)))
        .collect();
    if parameters.is_empty() {
        return Ok(());
    }
    let resets = parameters.iter().any(|(name, _)| *name == "reset");
    let mut filter = if resets {
        log.initial_filter().clone()
    } else {
        log.filter()
    };
    for (_, level) in parameters.iter().filter(|(name, _)| *name == "level") {
        filter = filter.overlaid(level)?;
    }
    log.set_filter(filter);
    Ok(())
}

/// `%3D` and its kin; what is no escape stays as it is.
fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|d| std::str::from_utf8(d).ok());
        let byte = digits
            .filter(|_| *first == b'%')
            .and_then(|d| u8::from_str_radix(d, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() {
            after.get(2..).unwrap_or_default()
        } else {
            after
        };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Filter, Format, Level, LineQueue};

    fn ask(log: &Log, method: &Method, query: &str) -> (u16, String) {
        let asked = Asked {
            method: method.clone(),
            path: "/logging".to_owned(),
            query: query.to_owned(),
            accept: String::new(),
        };
        let answer = answer(log, &asked);
        (answer.status.as_u16(), answer.body)
    }

    /// Levels are listed, changed for all or for one target, and reset.
    #[test]
    fn levels_can_be_listed_changed_and_reset() {
        let (lines, _receiver) = LineQueue::bounded(1);
        let log = Log::new(lines, "info".parse::<Filter>().unwrap(), Format::Text);
        let ok = |text: &str| (200, format!("current log level is {text}\n"));

        assert_eq!(ask(&log, &Method::POST, ""), ok("info"));
        assert_eq!(
            ask(&log, &Method::POST, "level=access%3Ddebug%2Cwarn"),
            ok("access=debug,warn")
        );
        assert!(log.is_enabled(Level::Debug, "access"));
        assert_eq!(
            ask(&log, &Method::POST, "level=zds=trace"),
            ok("access=debug,zds=trace,warn")
        );
        assert_eq!(
            ask(&log, &Method::POST, "reset&level=zds=off"),
            ok("zds=off,info")
        );
        assert_eq!(ask(&log, &Method::POST, "reset=true"), ok("info"));
    }

    /// A level that is none is refused and changes nothing; other methods are refused.
    #[test]
    fn invalid_levels_are_refused() {
        let (lines, _receiver) = LineQueue::bounded(1);
        let log = Log::new(lines, "info".parse::<Filter>().unwrap(), Format::Text);

        let (status, body) = ask(&log, &Method::POST, "level=access");
        assert!(
            status == 400 && body.starts_with("Invalid level provided: \"access\""),
            "{body}"
        );
        assert_eq!(ask(&log, &Method::GET, "level=debug").0, 405);
        assert_eq!(log.filter().to_string(), "info");
    }
}
