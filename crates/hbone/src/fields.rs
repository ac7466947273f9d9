//! From decoded header fields to a request or an answer.

use ambimesh_types::Authority;

use crate::header_list::FIELD_OVERHEAD;
use crate::hpack::FieldSink;
use crate::{BadRequest, ConnectRequest, ConnectResponse, HeaderList, StreamError};

/// Collects the fields of one header block and notes what is wrong with them.
///
/// Decoding goes on whatever is wrong: HPACK's table must see every field.
#[derive(Debug)]
pub(crate) struct Fields {
    limit: usize,
    size: usize,
    pseudo: [Option<Vec<u8>>; PSEUDO_HEADERS.len()],
    headers: HeaderList,
    malformed: Option<&'static str>,
}

/// Takes the fields of a block whose meaning does not matter: trailers, closed streams.
pub(crate) struct Discard;

impl Fields {
    /// Keeps at most `limit` bytes, counted as RFC 9113 §6.5.2 does.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            size: 0,
            pseudo: Default::default(),
            headers: HeaderList::new(),
            malformed: None,
        }
    }

    /// Reads the fields as a CONNECT. Source: RFC 9113 §8.5, specification §6.7.
    pub(crate) fn into_request(self) -> Result<ConnectRequest, BadRequest> {
        if self.size > self.limit {
            return Err(BadRequest::HeaderListTooLarge { limit: self.limit });
        }
        let [method, authority, status, scheme, path, protocol] = self.pseudo;
        let malformed = |what| Err(BadRequest::Malformed { what });
        if let Some(what) = self.malformed {
            return malformed(what);
        }
        match method {
            None => return malformed("no :method"),
            Some(method) if method != b"CONNECT" => {
                let method = method
                    .escape_ascii()
                    .map(char::from)
                    .take(LONGEST_METHOD)
                    .collect();
                return Err(BadRequest::Method { method });
            }
            Some(_) => {}
        }
        if [status, scheme, path, protocol].iter().any(Option::is_some) {
            return malformed("CONNECT with more than :method and :authority");
        }
        let text = String::from_utf8_lossy(authority.as_deref().unwrap_or_default()).into_owned();
        let authority: Authority = text.parse()?;
        Ok(ConnectRequest {
            authority,
            headers: self.headers,
        })
    }

    /// Reads the fields as an answer; 1xx ones are returned like any other.
    pub(crate) fn into_response(self) -> Result<ConnectResponse, StreamError> {
        if self.size > self.limit {
            return Err(StreamError::HeaderListTooLarge { limit: self.limit });
        }
        let [method, authority, status, scheme, path, protocol] = self.pseudo;
        if let Some(what) = self.malformed {
            return Err(StreamError::Protocol { what });
        }
        if [method, authority, scheme, path, protocol]
            .iter()
            .any(Option::is_some)
        {
            return Err(StreamError::Protocol {
                what: "answer with a request's pseudo-header",
            });
        }
        let status = status.as_deref().and_then(parse_status);
        let status = status.ok_or(StreamError::Protocol {
            what: "answer without status",
        })?;
        Ok(ConnectResponse {
            status,
            headers: self.headers,
        })
    }

    fn keep(&mut self, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if value
            .iter()
            .any(|byte| matches!(byte, b'\0' | b'\r' | b'\n'))
        {
            return Err("header value with NUL, CR or LF");
        }
        if name.first() != Some(&b':') {
            check_name(name, value)?;
            self.headers.push(name, value);
            return Ok(());
        }
        if !self.headers.is_empty() {
            return Err("pseudo-header after a header");
        }
        let position = PSEUDO_HEADERS
            .iter()
            .position(|known| known.as_bytes() == name);
        match position.and_then(|position| self.pseudo.get_mut(position)) {
            None => Err("unknown pseudo-header"),
            Some(Some(_)) => Err("pseudo-header twice"),
            Some(slot) => {
                *slot = Some(value.to_vec());
                Ok(())
            }
        }
    }
}

impl FieldSink for Fields {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + FIELD_OVERHEAD;
        self.size = self.size.saturating_add(size);
        if self.size <= self.limit && self.malformed.is_none() {
            self.malformed = self.keep(name, value).err();
        }
    }
}

impl FieldSink for Discard {
    fn field(&mut self, _name: &[u8], _value: &[u8]) {}
}

/// Refuses names that HTTP/2 forbids. Source: RFC 9113 §8.2.1 and §8.2.2.
fn check_name(name: &[u8], value: &[u8]) -> Result<(), &'static str> {
    let is_token = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(byte)
    };
    if name.is_empty() || !name.iter().all(is_token) {
        return Err("header name that is no lower-case token");
    }
    match name {
        b"connection" | b"proxy-connection" | b"keep-alive" | b"transfer-encoding" | b"upgrade" => {
            Err("connection-specific header")
        }
        b"te" if value != b"trailers" => Err("connection-specific header"),
        _ => Ok(()),
    }
}

fn parse_status(text: &[u8]) -> Option<u16> {
    match text {
        [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// What an access-log line shows of a method; standard ones are shorter.
const LONGEST_METHOD: usize = 32;

/// In the order of `Fields::pseudo`.
const PSEUDO_HEADERS: [&str; 6] = [
    ":method",
    ":authority",
    ":status",
    ":scheme",
    ":path",
    ":protocol",
];

#[cfg(test)]
mod tests {
    use super::*;

    type Lines<'a> = &'a [(&'a str, &'a str)];

    fn collect(fields: Lines) -> Fields {
        let mut collected = Fields::new(1000);
        for (name, value) in fields {
            collected.field(name.as_bytes(), value.as_bytes());
        }
        collected
    }

    /// The texts that the access log shows for requests that are no CONNECT (specification §6.7).
    #[test]
    fn bad_requests_say_what_is_wrong() {
        let connect = (":method", "CONNECT");
        let long = "x".repeat(1000);
        let cases: [(Lines, &str, u16); 9] = [
            (
                &[(":method", "GET"), (":path", "/")],
                "expected method CONNECT, got GET",
                400,
            ),
            (&[connect], "no valid authority pseudo header: ", 400),
            (
                &[connect, (":authority", "a")],
                "no valid authority pseudo header: a",
                400,
            ),
            (
                &[(":authority", "a:1")],
                "malformed request: no :method",
                400,
            ),
            (&[connect, (":protocol", "websocket")], MORE, 400),
            (
                &[connect, connect],
                "malformed request: pseudo-header twice",
                400,
            ),
            (
                &[("a", "b"), connect],
                "malformed request: pseudo-header after a header",
                400,
            ),
            (
                &[("A", "b")],
                "malformed request: header name that is no lower-case token",
                400,
            ),
            (
                &[connect, ("a", &long)],
                "header list is larger than 1000 bytes",
                431,
            ),
        ];

        for (fields, text, status) in cases {
            let problem = collect(fields).into_request().unwrap_err();

            assert_eq!(
                (problem.to_string().as_str(), problem.status()),
                (text, status)
            );
        }
    }

    const MORE: &str = "malformed request: CONNECT with more than :method and :authority";

    /// A good request keeps its headers; a good answer its status.
    #[test]
    fn good_messages_are_read() {
        let fields = [
            (":method", "CONNECT"),
            (":authority", "10.0.0.1:80"),
            ("baggage", "a=b"),
        ];
        let request = collect(&fields).into_request().unwrap();
        assert_eq!(
            request.authority,
            Authority::Address("10.0.0.1:80".parse().unwrap())
        );
        assert_eq!(request.headers.value_of("baggage"), Some(&b"a=b"[..]));

        assert_eq!(
            collect(&[(":status", "503")])
                .into_response()
                .unwrap()
                .status,
            503
        );
        for bad in ["", "20", "2000", "+20", "abc"] {
            assert!(
                collect(&[(":status", bad)]).into_response().is_err(),
                "{bad}"
            );
        }
    }
}
