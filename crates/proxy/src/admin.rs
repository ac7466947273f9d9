//! The administration page, on loopback, and the readiness probe.

mod certificates;
mod config_dump;
mod connections;
mod logging;

use std::sync::Arc;

use ambimesh_engine::Engine;
use ambimesh_state::Published;
use ambimesh_tls::Svid;
use hyper::{Method, StatusCode};

use crate::certificates::CertificateCache;
use crate::config::Config;
use crate::ending::{Cause, EndSender};
use crate::http::{Answer, Asked, Site};
use crate::log::Log;
use crate::readiness::Readiness;
use crate::zds::Roster;

const INDEX: &str = "<!DOCTYPE html>\n<title>ambimesh node proxy</title>\n<h1>ambimesh node proxy</h1>\n<ul>\n\
     <li><a href=\"/config_dump\">/config_dump</a>: everything this proxy knows\n\
     <li>POST /logging: show or change what is logged\n\
     <li>POST /quitquitquit: drain and end\n\
     <li>port 15020 /metrics, port 15021 /healthz/ready\n</ul>\n";

/// Everything that the administration page shows or changes.
pub(crate) struct AdminSite {
    /// Settings.
    pub(crate) config: Arc<Config>,
    /// The log.
    pub(crate) log: Log,
    /// How to end.
    pub(crate) ending: EndSender,
    /// What discovery says.
    pub(crate) state: Arc<Published>,
    /// Certificates.
    pub(crate) certificates: CertificateCache<Svid>,
    /// Pods.
    pub(crate) roster: Roster,
    /// The data path.
    pub(crate) engine: Arc<Engine>,
}

impl Site for AdminSite {
    fn answer(&self, asked: &Asked) -> Answer {
        match asked.path.as_str() {
            "/" => Answer {
                content_type: "text/html; charset=utf-8",
                ..Answer::text(StatusCode::OK, INDEX)
            },
            "/config_dump" => match config_dump::text(self) {
                Ok(body) => Answer {
                    status: StatusCode::OK,
                    content_type: "application/json",
                    body,
                },
                Err(error) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
            "/logging" => logging::answer(&self.log, asked),
            "/quitquitquit" if asked.method == Method::POST => {
                self.ending.end(Cause::Asked("/quitquitquit"));
                Answer::text(StatusCode::OK, "shutdown now\n")
            }
            "/quitquitquit" => {
                Answer::text(StatusCode::METHOD_NOT_ALLOWED, "Invalid HTTP method\n")
            }
            _ => Answer::not_found(),
        }
    }
}

/// The readiness probe.
pub(crate) struct ReadinessSite(pub(crate) Readiness);

impl Site for ReadinessSite {
    fn answer(&self, asked: &Asked) -> Answer {
        match (asked.path.as_str(), &asked.method) {
            ("/healthz/ready", &Method::GET | &Method::HEAD) => {
                let pending = self.0.pending();
                if pending.is_empty() {
                    Answer::text(StatusCode::OK, "ready\n")
                } else {
                    let text = format!("not ready, pending: {}\n", pending.join(", "));
                    Answer::text(StatusCode::INTERNAL_SERVER_ERROR, text)
                }
            }
            ("/healthz/ready", _) => {
                Answer::text(StatusCode::METHOD_NOT_ALLOWED, "Invalid HTTP method\n")
            }
            _ => Answer::not_found(),
        }
    }
}

#[cfg(test)]
mod tests;
