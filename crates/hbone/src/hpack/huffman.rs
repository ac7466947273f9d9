//! The fixed Huffman code of header strings. Source: RFC 7541 §5.2 and appendix B.
//!
//! The code is canonical: the lengths alone define it. From them the compiler builds a table that
//! takes four bits at a time, 16 KiB in all.

/// Appends the decoded text to `out`: at most 8/5 of the encoded bytes.
///
/// Errors: `None` for a code that does not exist or wrong padding.
pub(super) fn decode(encoded: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut state = 0_u8;
    for nibble in encoded.iter().flat_map(|byte| [byte >> 4, byte & 0xf]) {
        let step = STEPS[state as usize][nibble as usize];
        if step.is_invalid {
            return None;
        }
        out.extend(step.symbol);
        state = step.next;
    }
    // What is left must be the beginning of EOS, that is all ones, and shorter than a byte.
    IS_PADDING[state as usize].then_some(())
}

/// What four more bits mean in some state.
#[derive(Clone, Copy)]
struct Step {
    next: u8,
    /// At most one: the shortest code has five bits.
    symbol: Option<u8>,
    is_invalid: bool,
}

/// A child in the code's tree.
#[derive(Clone, Copy)]
enum Node {
    Missing,
    Inner(u8),
    Leaf(u8),
    EndOfString,
}

/// An inner node for every prefix; 257 leaves make 256 of them, so a `u8` names one.
type Tree = [[Node; 2]; 256];

const TREE: Tree = build_tree();
static STEPS: [[Step; 16]; 256] = build_steps();
static IS_PADDING: [bool; 256] = find_padding();

/// Puts each symbol where its canonical code says: codes count up, by length and then by symbol.
const fn build_tree() -> Tree {
    let mut tree = [[Node::Missing; 2]; 256];
    let mut nodes = 1_u8;
    let mut is_full = false;
    let mut code = 0_u32;
    let mut length = 1;
    while length <= 30 {
        code <<= 1;
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] == length {
                let mut at = 0_u8;
                let mut bit = length - 1;
                while bit > 0 {
                    let side = ((code >> bit) & 1) as usize;
                    at = if let Node::Inner(child) = tree[at as usize][side] {
                        child
                    } else {
                        assert!(!is_full, "more inner nodes than 256");
                        let child = nodes;
                        (nodes, is_full) = nodes.overflowing_add(1);
                        tree[at as usize][side] = Node::Inner(child);
                        child
                    };
                    bit -= 1;
                }
                tree[at as usize][(code & 1) as usize] = leaf(symbol);
                code += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    tree
}

#[expect(clippy::cast_possible_truncation, reason = "checked in the condition")]
const fn leaf(symbol: usize) -> Node {
    if symbol < 256 {
        Node::Leaf(symbol as u8)
    } else {
        Node::EndOfString
    }
}

#[expect(clippy::cast_possible_truncation, reason = "states are below 256")]
const fn build_steps() -> [[Step; 16]; 256] {
    let nothing = Step {
        next: 0,
        symbol: None,
        is_invalid: false,
    };
    let mut steps = [[nothing; 16]; 256];
    let mut state = 0;
    while state < 256 {
        let mut nibble = 0_u8;
        while nibble < 16 {
            steps[state][nibble as usize] = walk(state as u8, nibble);
            nibble += 1;
        }
        state += 1;
    }
    steps
}

/// Follows four bits through the tree.
const fn walk(state: u8, nibble: u8) -> Step {
    let mut step = Step {
        next: state,
        symbol: None,
        is_invalid: false,
    };
    let mut bit = 4;
    while bit > 0 {
        bit -= 1;
        match TREE[step.next as usize][((nibble >> bit) & 1) as usize] {
            Node::Inner(child) => step.next = child,
            Node::Leaf(symbol) => {
                step.next = 0;
                step.symbol = Some(symbol);
            }
            Node::EndOfString | Node::Missing => {
                step.is_invalid = true;
                return step;
            }
        }
    }
    step
}

/// The states reached by at most seven ones.
const fn find_padding() -> [bool; 256] {
    let mut is_padding = [false; 256];
    let mut at = 0_u8;
    let mut ones = 0;
    while ones <= 7 {
        is_padding[at as usize] = true;
        if let Node::Inner(child) = TREE[at as usize][1] {
            at = child;
        }
        ones += 1;
    }
    is_padding
}

/// Code length of each byte and, last, of EOS.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

/// The inverse, for round trips: our encoder sends plain text.
#[cfg(test)]
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let mut order: Vec<usize> = (0..LENGTHS.len()).collect();
    order.sort_by_key(|&symbol| LENGTHS[symbol]);
    let mut codes = [0_u32; 257];
    let (mut code, mut length) = (0, 0);
    for symbol in order {
        code <<= LENGTHS[symbol] - length;
        length = LENGTHS[symbol];
        codes[symbol] = code;
        code += 1;
    }
    let mut bits: Vec<u8> = text
        .iter()
        .flat_map(|&byte| {
            let length = LENGTHS[usize::from(byte)];
            (0..length)
                .rev()
                .map(move |bit| u8::from(codes[usize::from(byte)] >> bit & 1 == 1))
        })
        .collect();
    while !bits.len().is_multiple_of(8) {
        bits.push(1);
    }
    bits.chunks(8)
        .map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | bit))
        .collect()
}
