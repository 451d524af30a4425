//! The XML of KeePass as a tree of elements with their text. The only attributes that count are
//! `Protected`, and `Hash` in a key file.
//!
//! A document type is refused, so there are only the five entities of XML itself. The depth and the
//! number of elements are limited.

use data_encoding::BASE64;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use zeroize::Zeroizing;

use crate::error::ImportError;

/// The deepest nesting.
const DEPTH_MAX: usize = 128;
/// The most elements.
const NODES_MAX: usize = 2_000_000;

/// An element.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) text: Zeroizing<String>,
    pub(crate) children: Vec<Node>,
    /// The attribute `Hash`.
    pub(crate) hash: Option<String>,
    /// Whether the decrypted bytes are not UTF-8, so that the element has no text.
    pub(crate) is_binary: bool,
    is_protected: bool,
}

impl Node {
    /// The first child of this name.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The children of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first child of this name; empty if there is none.
    pub(crate) fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.as_str())
    }
}

/// Decrypts the bytes of a protected element in place.
pub(crate) type Unprotect<'u> = &'u mut dyn FnMut(&mut [u8]);

/// Reads a document. The text of a protected element is base64. `unprotect` is called in the order
/// of the document; without it, the decoded bytes are the text.
pub(crate) fn read(text: &str, mut unprotect: Option<Unprotect<'_>>) -> Result<Node, ImportError> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut stack: Vec<Node> = vec![Node::default()];
    let mut count = 0;
    loop {
        let place = reader.buffer_position();
        let not_xml = || not_xml(text, place);
        match reader.read_event().map_err(|_| not_xml())? {
            Event::Start(start) => {
                count += 1;
                if count > NODES_MAX {
                    return Err(ImportError::TooMany {
                        what: "elements",
                        limit: NODES_MAX,
                    });
                }
                if stack.len() > DEPTH_MAX {
                    return Err(ImportError::TooMany {
                        what: "levels",
                        limit: DEPTH_MAX,
                    });
                }
                stack.push(begin(&start).ok_or_else(not_xml)?);
            }
            Event::End(_) => {
                let mut node = stack.pop().ok_or_else(not_xml)?;
                if node.is_protected {
                    let bytes = BASE64.decode(node.text.trim().as_bytes());
                    let mut bytes = match (bytes, &unprotect) {
                        (Ok(bytes), _) => Zeroizing::new(bytes),
                        // All later values would be decrypted at the wrong place.
                        (Err(_), Some(_)) => return Err(not_xml()),
                        (Err(_), None) => Zeroizing::new(vec![0xFF]),
                    };
                    if let Some(unprotect) = &mut unprotect {
                        unprotect(&mut bytes);
                    }
                    let plain = std::str::from_utf8(&bytes);
                    node.is_binary = plain.is_err();
                    node.text = Zeroizing::new(plain.unwrap_or_default().to_owned());
                }
                stack.last_mut().ok_or_else(not_xml)?.children.push(node);
            }
            Event::Text(text) => push(&mut stack, &text.xml10_content()),
            Event::CData(text) => push(&mut stack, &text.xml10_content()),
            Event::GeneralRef(reference) => {
                let resolved = match reference.resolve_char_ref().map_err(|_| not_xml())? {
                    Some(character) => character.to_string(),
                    None => resolve_predefined_entity(&reference)
                        .ok_or_else(not_xml)?
                        .to_owned(),
                };
                push(&mut stack, &resolved);
            }
            Event::DocType(_) => {
                return Err(ImportError::NotSupported {
                    what: "a document type",
                });
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let end = u64::try_from(text.len()).unwrap_or(u64::MAX);
    let root = stack
        .pop()
        .filter(|_| stack.is_empty())
        .ok_or_else(|| not_xml(text, end))?;
    root.children
        .into_iter()
        .next()
        .ok_or_else(|| not_xml(text, end))
}

fn begin(start: &BytesStart<'_>) -> Option<Node> {
    let protected = start.try_get_attribute("Protected").ok()?;
    let is_protected =
        protected.is_some_and(|attribute| attribute.value.eq_ignore_ascii_case("true"));
    let hash = start.try_get_attribute("Hash").ok()?;
    let hash = hash.map(|attribute| attribute.value.trim().to_owned());
    Some(Node {
        name: start.name().as_ref().to_owned(),
        hash,
        is_protected,
        ..Node::default()
    })
}

fn push(stack: &mut [Node], text: &str) {
    if let Some(node) = stack.last_mut() {
        node.text.push_str(text);
    }
}

fn not_xml(text: &str, place: u64) -> ImportError {
    let place = usize::try_from(place).unwrap_or(usize::MAX).min(text.len());
    let before = text.as_bytes().get(..place).unwrap_or_default();
    ImportError::NotXml {
        line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
    }
}
