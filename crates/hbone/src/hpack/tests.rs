//! HPACK against the examples of RFC 7541 appendix C, round trips, and arbitrary bytes.

use proptest::prelude::*;

use super::decoder::{DecodeError, Decoder, integer};
use super::encoder::{encode_field, encode_integer, encode_status};
use super::{FieldSink, huffman};

type FieldList = Vec<(Vec<u8>, Vec<u8>)>;

#[derive(Default)]
struct Collected(FieldList);

impl FieldSink for Collected {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        self.0.push((name.to_vec(), value.to_vec()));
    }
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<FieldList, DecodeError> {
    let mut fields = Collected::default();
    decoder.decode(block, &mut fields)?;
    Ok(fields.0)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// One block of an example: bytes, "name: value" lines, size of the table afterwards.
type Block = (&'static str, &'static [&'static str], usize);

fn check_example(blocks: &[Block]) {
    let mut decoder = Decoder::new();
    for (bytes, expected, size) in blocks {
        let fields = decode(&mut decoder, &hex(bytes)).unwrap();

        let lines: Vec<String> = fields
            .iter()
            .map(|(n, v)| format!("{}: {}", n.escape_ascii(), v.escape_ascii()))
            .collect();
        assert_eq!((lines, decoder.table_size()), (lines_of(expected), *size));
    }
}

fn lines_of(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}

const FIRST: [&str; 4] = [
    ":method: GET",
    ":scheme: http",
    ":path: /",
    ":authority: www.example.com",
];
const SECOND: [&str; 5] = [
    ":method: GET",
    ":scheme: http",
    ":path: /",
    ":authority: www.example.com",
    "cache-control: no-cache",
];
const THIRD: [&str; 5] = [
    ":method: GET",
    ":scheme: https",
    ":path: /index.html",
    ":authority: www.example.com",
    "custom-key: custom-value",
];

const DATE: &str = "date: Mon, 21 Oct 2013 20:13:21 GMT";
const LOCATION: &str = "location: https://www.example.com";

/// RFC 7541 C.2: the four kinds of fields.
#[test]
fn single_fields_follow_the_rfc() {
    check_example(&[(
        "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
        &["custom-key: custom-header"],
        55,
    )]);
    check_example(&[(
        "040c 2f73 616d 706c 652f 7061 7468",
        &[":path: /sample/path"],
        0,
    )]);
    check_example(&[(
        "1008 7061 7373 776f 7264 0673 6563 7265 74",
        &["password: secret"],
        0,
    )]);
    check_example(&[("82", &[":method: GET"], 0)]);
}

/// RFC 7541 C.3: three requests on one connection, plain text.
#[test]
fn plain_requests_follow_the_rfc() {
    check_example(&[
        (
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            &FIRST,
            57,
        ),
        ("8286 84be 5808 6e6f 2d63 6163 6865", &SECOND, 110),
        (
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            &THIRD,
            164,
        ),
    ]);
}

/// RFC 7541 C.4: the same with Huffman coding.
#[test]
fn huffman_requests_follow_the_rfc() {
    check_example(&[
        ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", &FIRST, 57),
        ("8286 84be 5886 a8eb 1064 9cbf", &SECOND, 110),
        (
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            &THIRD,
            164,
        ),
    ]);
}

/// RFC 7541 C.6 shrinks the table to 256 bytes: old fields are evicted.
#[test]
fn eviction_follows_the_rfc() {
    check_example(&[
        (
            // The size update stands for the setting of the example.
            "3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
             2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            &[":status: 302", "cache-control: private", DATE, LOCATION],
            222,
        ),
        (
            "4883 640e ffc1 c0bf",
            &[":status: 307", "cache-control: private", DATE, LOCATION],
            222,
        ),
    ]);
}

/// RFC 7541 C.1: integers.
#[test]
fn integers_follow_the_rfc() {
    for (value, prefix, bytes) in [
        (10, 5, &[10][..]),
        (1337, 5, &[31, 154, 10]),
        (42, 8, &[42]),
    ] {
        let mut out = Vec::new();
        encode_integer(value, prefix, 0, &mut out);

        assert_eq!(out, bytes);
        assert_eq!(integer(&mut &out[..], prefix), Ok(value));
    }
}

/// Blocks that HPACK forbids are refused, each for its reason.
#[test]
fn bad_blocks_are_refused() {
    for (bytes, why) in [
        ("80", "index of no field"),
        ("be", "index of no field"),
        ("ffffffffff0f", "integer too large"),
        ("0005 61", "block ends early"),
        ("00", "block ends early"),
        ("82 20", "table size update after a field"),
        ("3fe21f", "table size beyond the announced one"),
        ("0081 ff 00", "bad Huffman code"),
        ("0084 ffff ffff 00", "bad Huffman code"),
        ("0081 18 00", "bad Huffman code"),
    ] {
        assert_eq!(
            decode(&mut Decoder::new(), &hex(bytes)),
            Err(DecodeError(why)),
            "{bytes}"
        );
    }
}

/// Every byte survives Huffman coding, alone and in company.
#[test]
fn every_byte_survives_huffman() {
    let all: Vec<u8> = (0..=255).collect();
    let mut out = Vec::new();

    huffman::decode(&huffman::encode(&all), &mut out).unwrap();

    assert_eq!(out, all);
}

proptest! {
    /// What we encode, we decode.
    #[test]
    fn fields_survive(
        fields in prop::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..8),
        status in 200_u16..600,
    ) {
        let mut block = Vec::new();
        encode_status(status, &mut block);
        for (name, value) in &fields {
            encode_field(name, value, &mut block);
        }

        let mut decoded = decode(&mut Decoder::new(), &block).unwrap();

        prop_assert_eq!(decoded.remove(0), (b":status".to_vec(), status.to_string().into_bytes()));
        prop_assert_eq!(decoded, fields);
    }

    /// Any text survives Huffman coding; any bytes are answered, and grow by 8/5 at most.
    #[test]
    fn huffman_is_total(text: Vec<u8>) {
        let mut out = Vec::new();
        huffman::decode(&huffman::encode(&text), &mut out).unwrap();
        prop_assert_eq!(&out, &text);

        out.clear();
        let _ = huffman::decode(&text, &mut out);
        prop_assert!(out.len() * 5 <= text.len() * 8);
    }

    /// Any sequence of blocks is answered, and the table keeps its bound.
    #[test]
    fn decoding_is_total(blocks in prop::collection::vec(any::<Vec<u8>>(), 0..20)) {
        let mut decoder = Decoder::new();
        for block in blocks {
            let _ = decode(&mut decoder, &block);
            prop_assert!(decoder.table_size() <= 4096);
        }
    }
}
