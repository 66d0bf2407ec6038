//! Documents in YAML as trees of texts. PURE.
//!
//! Lock files that a tool has written have texts, maps and lists only. Aliases, by which a short
//! document stands for a huge one, are refused, as are keys that are no texts.

use saphyr_parser::{Event, Parser};

/// Lists and maps in each other: `pnpm-lock.yaml` has five.
const MAX_DEPTH: usize = 32;
/// The most texts, maps and lists of a document: a lock file of 10,000 packages has 200,000. So
/// many take 200 MB.
const MAX_NODES: usize = 400_000;

/// A text, list or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Yaml {
    Text(String),
    List(Vec<Yaml>),
    /// In the order of the document; a key may occur twice.
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    /// Reads the first document of a text; `None` where it is malformed, beyond a limit, or has
    /// what a lock file has not.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut open: Vec<Open> = Vec::new();
        let mut parser = Parser::new_from_str(text);
        for _ in 0..MAX_NODES.saturating_mul(2) {
            let (event, _) = parser.next_event()?.ok()?;
            let whole = match event {
                Event::Nothing | Event::StreamStart | Event::DocumentStart(_) => continue,
                Event::MappingStart(..) if open.len() < MAX_DEPTH => {
                    open.push(Open::Map(Vec::new(), None));
                    continue;
                }
                Event::SequenceStart(..) if open.len() < MAX_DEPTH => {
                    open.push(Open::List(Vec::new()));
                    continue;
                }
                Event::Scalar(value, ..) => Self::Text(value.into_owned()),
                Event::MappingEnd | Event::SequenceEnd => open.pop()?.close()?,
                // Too deep, an alias, or no document.
                _ => return None,
            };
            match open.last_mut() {
                Some(parent) => parent.add(whole)?,
                None => return Some(whole),
            }
        }
        None
    }

    /// The value of a key; `None` where this is no map or has no such key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let mut entries = self.entries();
        entries
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// The keys and values of a map; nothing of what is none.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        let entries = match self {
            Self::Map(entries) => entries.as_slice(),
            Self::Text(_) | Self::List(_) => &[],
        };
        entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::List(_) | Self::Map(_) => None,
        }
    }
}

/// A list or map whose end was not read yet.
enum Open {
    List(Vec<Yaml>),
    /// With the key whose value comes next.
    Map(Vec<(String, Yaml)>, Option<String>),
}

impl Open {
    fn add(&mut self, value: Yaml) -> Option<()> {
        match self {
            Self::List(values) => values.push(value),
            Self::Map(entries, key) => match (key.take(), value) {
                (Some(name), value) => entries.push((name, value)),
                (None, Yaml::Text(name)) => *key = Some(name),
                (None, _) => return None,
            },
        }
        Some(())
    }

    fn close(self) -> Option<Yaml> {
        match self {
            Self::List(values) => Some(Yaml::List(values)),
            Self::Map(entries, None) => Some(Yaml::Map(entries)),
            Self::Map(_, Some(_)) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_become_trees() {
        let text = "a: 1\nb:\n  '@c/d@1.0': {e: [x, 'y z'], f: true}\n  g:\n---\nnext: 1\n";
        let found = Yaml::read(text).expect("a document");
        assert_eq!(found.get("a").and_then(Yaml::text), Some("1"));
        let inner = found.get("b").and_then(|b| b.get("@c/d@1.0"));
        let inner = inner.expect("a map");
        assert_eq!(
            inner.get("e"),
            Some(&Yaml::List(vec![
                Yaml::Text("x".into()),
                Yaml::Text("y z".into())
            ]))
        );
        assert_eq!(inner.get("f").and_then(Yaml::text), Some("true"));
        assert_eq!(found.get("next"), None);
        assert_eq!(found.get("a").map(|a| a.entries().count()), Some(0));
    }

    #[test]
    fn what_could_grow_is_refused() {
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
        assert_eq!(Yaml::read(bomb), None);
        assert_eq!(Yaml::read(&"[".repeat(100_000)), None);
        assert_eq!(Yaml::read(&"- ".repeat(100_000)), None);
        assert_eq!(Yaml::read("{[a]: b}"), None);
        assert_eq!(Yaml::read("a: 'open"), None);
        assert_eq!(Yaml::read(""), None);
        let large = format!("[{}]", "1,".repeat(MAX_NODES * 2));
        assert_eq!(Yaml::read(&large), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(
            text in "([a-z@'\"\\[\\]{}&*!|>?%#:,. \n-]|: |\n  ){0,60}",
        ) {
            let _ = Yaml::read(&text);
        }
    }
}
