//! The module tree of one crate, and which file imports which.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;
use crate::workspace::Crate;

/// A module's path inside its crate; the crate's root is empty.
type Path = Vec<String>;

/// The modules of one crate that are compiled into the program.
pub(crate) struct Modules {
    /// File by module.
    files: BTreeMap<Path, String>,
    /// What a module makes visible under another path: `pub use a::b::C` as `C` to `a::b::C`.
    exports: BTreeMap<(Path, String), Path>,
    /// Imports from module to module, with the line of the first.
    edges: BTreeMap<(Path, Path), usize>,
}

impl Modules {
    pub(crate) fn of(one: &Crate) -> Self {
        let prefix = format!("src/{}/", one.folder);
        let production = one.files.iter().filter(|file| !file.is_test());
        let modules: Vec<(Path, &Source)> = production
            .filter_map(|file| Some((module_of(file.path.strip_prefix(&prefix)?), file)))
            .collect();
        let files = modules
            .iter()
            .map(|(path, file)| (path.clone(), file.path.clone()));
        let mut found = Self {
            files: files.collect(),
            exports: BTreeMap::new(),
            edges: BTreeMap::new(),
        };
        for (module, file) in &modules {
            found.read_exports(module, file);
        }
        for (module, file) in &modules {
            found.read_imports(module, file);
        }
        found
    }

    /// Groups of files that import each other, each as the list of its imports.
    pub(crate) fn cycles(&self) -> Vec<Vec<String>> {
        let mut reachable: BTreeMap<&Path, BTreeSet<&Path>> = BTreeMap::new();
        for module in self.files.keys() {
            reachable.insert(module, self.reachable(module));
        }
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for module in self.files.keys() {
            let group: BTreeSet<&Path> = reachable[module]
                .iter()
                .copied()
                .filter(|other| reachable[other].contains(module))
                .collect();
            if group.len() > 1 && seen.insert(group.clone()) {
                let inside = self
                    .edges
                    .iter()
                    .filter(|((from, to), _)| group.contains(from) && group.contains(to));
                let lines = inside.map(|((from, to), line)| {
                    format!("{}:{line} imports {}", self.files[from], self.files[to])
                });
                found.push(lines.collect());
            }
        }
        found
    }

    /// Every module that a module imports, directly or not.
    fn reachable(&self, module: &Path) -> BTreeSet<&Path> {
        let mut found = BTreeSet::new();
        let mut next = vec![module];
        while let Some(from) = next.pop() {
            for (_, to) in self.edges.keys().filter(|(start, _)| start == from) {
                if found.insert(to) {
                    next.push(to);
                }
            }
        }
        found
    }

    /// Notes what `pub use` makes visible elsewhere.
    fn read_exports(&mut self, module: &Path, file: &Source) {
        for (_, public, path) in uses(&file.code) {
            let Some(target) = self.absolute(module, &path) else {
                continue;
            };
            if public && let Some(name) = target.last().cloned() {
                self.exports.insert((module.clone(), name), target);
            }
        }
    }

    /// Notes which modules a file uses: by `use`, by `crate::…` in code, and by a child's name.
    fn read_imports(&mut self, module: &Path, file: &Source) {
        let mut found: Vec<(usize, Path)> = uses(&file.code)
            .into_iter()
            .filter(|(_, public, _)| !public)
            .map(|(at, _, path)| (at, path))
            .collect();
        found.extend(inline_paths(&file.code));
        for (at, path) in found {
            let Some(target) = self.absolute(module, &path) else {
                continue;
            };
            let target = self.resolve(&target);
            // A module and its children are one subject: the parent assembles them.
            if !target.starts_with(module) {
                let line = file.line(at);
                self.edges.entry((module.clone(), target)).or_insert(line);
            }
        }
    }

    /// A path from the crate's root; `None` for a path into another crate.
    fn absolute(&self, module: &Path, path: &[String]) -> Option<Path> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module.as_slice(), rest].concat()),
            "super" => Some([&module[..module.len().checked_sub(1)?], rest].concat()),
            _ => {
                let child = [module.as_slice(), std::slice::from_ref(first)].concat();
                self.files
                    .contains_key(&child)
                    .then(|| [module.as_slice(), path].concat())
            }
        }
    }

    /// The module that defines what a path names.
    fn resolve(&self, path: &Path) -> Path {
        let mut module = Path::new();
        for (depth, name) in path.iter().enumerate() {
            let child = [module.as_slice(), std::slice::from_ref(name)].concat();
            if self.files.contains_key(&child) {
                module = child;
                continue;
            }
            return match self.exports.get(&(module.clone(), name.clone())) {
                Some(target) if target != path => {
                    self.resolve(&[target.as_slice(), &path[depth + 1..]].concat())
                }
                _ => module,
            };
        }
        module
    }
}

/// `a/b.rs` and `a/b/mod.rs` are the module `a::b`; `lib.rs` is the root.
fn module_of(path: &str) -> Path {
    let path = path.trim_end_matches(".rs");
    let mut names: Path = path.split('/').map(str::to_owned).collect();
    if names
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        names.pop();
    }
    names
}

/// The paths of every `use`, with position and whether it is public; braces are taken apart.
fn uses(code: &str) -> Vec<(usize, bool, Path)> {
    let mut found = Vec::new();
    let mut at = 0;
    for line in code.split_inclusive('\n') {
        let trimmed = line.trim_start();
        let visibility = ["pub use ", "pub(crate) use ", "use "]
            .into_iter()
            .find(|start| trimmed.starts_with(start));
        if let Some(start) = visibility {
            let from = at + (line.len() - trimmed.len()) + start.len();
            let end = code[from..].find(';').map_or(code.len(), |end| from + end);
            for path in expand(&code[from..end]) {
                found.push((from, start != "use ", path));
            }
        }
        at += line.len();
    }
    found
}

/// `a::{b, c::d}` as `a::b` and `a::c::d`.
fn expand(tree: &str) -> Vec<Path> {
    let tree = tree.trim();
    let Some((before, inside)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap_or_default();
        return vec![
            name.split("::")
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty() && part != "*")
                .collect(),
        ];
    };
    let before: Path = before
        .split("::")
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect();
    let inside = inside.rsplit_once('}').map_or(inside, |(inside, _)| inside);
    let mut members = vec![String::new()];
    let mut depth = 0_usize;
    for c in inside.chars() {
        match c {
            ',' if depth == 0 => members.push(String::new()),
            _ => {
                depth = match c {
                    '{' => depth + 1,
                    '}' => depth - 1,
                    _ => depth,
                };
                members.last_mut().expect("never empty").push(c);
            }
        }
    }
    members
        .iter()
        .filter(|member| !member.trim().is_empty())
        .flat_map(|member| expand(member))
        .map(|path| {
            let path = path.into_iter().filter(|name| name != "self");
            before.iter().cloned().chain(path).collect()
        })
        .collect()
}

/// Every path in code that begins with `crate::` or with the name of a module, outside of `use`.
fn inline_paths(code: &str) -> Vec<(usize, Path)> {
    let mut found = Vec::new();
    let mut at = 0;
    for line in code.split_inclusive('\n') {
        if !line.trim_start().starts_with("use ") && !line.trim_start().starts_with("pub") {
            for path in line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
                if path.contains("::") && !path.starts_with(':') {
                    let names = path.split("::").filter(|name| !name.is_empty());
                    found.push((at, names.map(str::to_owned).collect()));
                }
            }
        }
        at += line.len();
    }
    found
}

mod tests {
    use super::{expand, module_of};

    #[test]
    fn use_trees_are_taken_apart() {
        let paths: Vec<_> = expand("crate::a::{self, b::{C, D as E}, f}")
            .iter()
            .map(|path| path.join("::"))
            .collect();
        assert_eq!(
            paths,
            [
                "crate::a",
                "crate::a::b::C",
                "crate::a::b::D",
                "crate::a::f"
            ]
        );
        assert_eq!(module_of("a/mod.rs"), ["a"]);
        assert_eq!(module_of("a/b.rs"), ["a", "b"]);
        assert!(module_of("lib.rs").is_empty());
    }
}
