//! The dependencies of Java projects that lie as sources in an image: `pom.xml` of Maven and
//! `gradle.lockfile` of Gradle. PURE.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::inventory::found::Found;
use crate::package::{Package, PackageKind};

/// Elements in each other: a dependency has five.
const MAX_DEPTH: usize = 64;
/// The longest text of an element, in bytes: names and versions are short.
const MAX_TEXT_BYTES: usize = 1024;
/// Properties of one project: large ones have some hundred.
const MAX_PROPERTIES: usize = 10_000;
/// Properties that refer to others are followed so often.
const MAX_REFERENCES: usize = 8;

/// The dependencies of `pom.xml` that name their version and are part of what is run. Versions that
/// a parent or an imported list decides are not in the file: those dependencies are left out, as
/// are dependencies of dependencies.
pub(crate) fn pom(text: &str, found: &mut Found) {
    let Some(project) = Project::read(text, found.left()) else {
        return;
    };
    for dependency in &project.dependencies {
        let field = |name: &str| {
            let value = dependency.get(name)?;
            project.resolve(value)
        };
        let run = matches!(
            dependency.get("scope").map(String::as_str),
            None | Some("compile" | "runtime")
        );
        let (group, artifact, version) = (field("groupId"), field("artifactId"), field("version"));
        if let (true, Some(group), Some(artifact), Some(version)) = (run, group, artifact, version)
            && version.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !version.contains([',', ' '])
        {
            let name = format!("{group}:{artifact}");
            found.add(Package::new(PackageKind::Maven, &name, &version));
        }
    }
}

/// What a `pom.xml` says of itself.
#[derive(Default)]
struct Project {
    /// `<properties>`, and the project's own coordinates as `project.…`.
    properties: BTreeMap<String, String>,
    dependencies: Vec<BTreeMap<String, String>>,
}

impl Project {
    /// `None` where the text is no XML. Entities are not expanded, and a document type is refused.
    /// Dependencies beyond `most` are not read.
    fn read(text: &str, most: usize) -> Option<Self> {
        let mut project = Self::default();
        let mut reader = Reader::from_str(text);
        let mut path: Vec<String> = Vec::new();
        let mut content = String::new();
        loop {
            match reader.read_event().ok()? {
                Event::Start(element) => {
                    if path.len() >= MAX_DEPTH {
                        return None;
                    }
                    let name = element.local_name();
                    path.push(String::from_utf8_lossy(name.as_ref()).into_owned());
                    content.clear();
                    if path == ["project", "dependencies", "dependency"] {
                        if project.dependencies.len() >= most {
                            return Some(project);
                        }
                        project.dependencies.push(BTreeMap::new());
                    }
                }
                Event::Text(part) => {
                    let part = part.decode().ok()?;
                    if content.len() + part.len() <= MAX_TEXT_BYTES {
                        content.push_str(&part);
                    }
                }
                Event::End(_) => {
                    project.take(&path, content.trim());
                    content.clear();
                    path.pop()?;
                }
                // A character by its name is in no name or version: what is not known is left out.
                Event::GeneralRef(_) => content.push_str("${}"),
                Event::DocType(_) => return None,
                Event::Eof => break,
                _ => {}
            }
        }
        path.is_empty().then_some(project)
    }

    /// Takes the text of an element.
    fn take(&mut self, path: &[String], text: &str) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["project", "properties", name] if self.properties.len() < MAX_PROPERTIES => {
                self.properties.insert((*name).to_owned(), text.to_owned());
            }
            ["project", name @ ("version" | "groupId" | "artifactId")] => {
                let name = format!("project.{name}");
                self.properties.insert(name, text.to_owned());
            }
            ["project", "parent", name @ ("version" | "groupId")] => {
                let parent = format!("project.parent.{name}");
                self.properties.insert(parent, text.to_owned());
                // A project has those of its parent where it names none.
                let own = self.properties.entry(format!("project.{name}"));
                own.or_insert_with(|| text.to_owned());
            }
            [
                "project",
                "dependencies",
                "dependency",
                name @ ("groupId" | "artifactId" | "version" | "scope"),
            ] => {
                if let Some(dependency) = self.dependencies.last_mut() {
                    dependency.insert((*name).to_owned(), text.to_owned());
                }
            }
            _ => {}
        }
    }

    /// A text with its references to properties replaced; `None` where one is not known.
    fn resolve(&self, text: &str) -> Option<String> {
        let mut text = text.to_owned();
        for _ in 0..MAX_REFERENCES {
            let Some(start) = text.find("${") else {
                return (!text.is_empty()).then_some(text);
            };
            let end = start + text.get(start..)?.find('}')?;
            let value = self.properties.get(text.get(start + 2..end)?)?;
            text.replace_range(start..=end, value);
            if text.len() > MAX_TEXT_BYTES {
                return None;
            }
        }
        None
    }
}

/// The lines `group:artifact:version=configurations` of `gradle.lockfile`, without those of tests
/// and of annotation processors only.
pub(crate) fn gradle(text: &str, found: &mut Found) {
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if found.is_full() {
            return;
        }
        let Some((module, configurations)) = line.trim().split_once('=') else {
            continue;
        };
        let mut parts = module.split(':');
        let (Some(group), Some(artifact), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let mut configurations = configurations.split(',');
        // `runtimeClasspath`, `productionRuntimeClasspath`, `debugRuntimeClasspath`, ….
        let run = configurations.any(|one| {
            let one = one.to_ascii_lowercase();
            one.ends_with("runtimeclasspath") && !one.contains("test")
        });
        if run && !group.is_empty() && !artifact.is_empty() && !version.is_empty() {
            let name = format!("{group}:{artifact}");
            found.add(Package::new(PackageKind::Maven, &name, version));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::names_by;

    fn dependency(artifact: &str, more: &str) -> String {
        format!(
            "<dependency><groupId>g</groupId><artifactId>{artifact}</artifactId>{more}</dependency>"
        )
    }

    #[test]
    fn a_pom_names_what_it_decides_itself() {
        let dependencies = [
            dependency("plain", "<version> 1.0 </version>"),
            dependency(
                "property",
                "<version>${a.version}</version><scope>runtime</scope>",
            ),
            dependency("own", "<version>${project.version}</version>"),
            dependency("managed", ""),
            dependency("unknown", "<version>${of.the.parent}</version>"),
            dependency("circle", "<version>${circle}</version>"),
            dependency("range", "<version>[1.0,2.0)</version>"),
            dependency("test", "<version>1</version><scope>test</scope>"),
        ];
        let text = format!(
            "<?xml version=\"1.0\"?><project xmlns=\"http://maven.apache.org/POM/4.0.0\"><parent>\
             <groupId>g</groupId><version>7</version></parent><artifactId>x</artifactId>\
             <properties><a.version>${{b}}-jre</a.version><b>2.1</b><circle>${{circle}}</circle>\
             </properties><dependencyManagement><dependencies>{}</dependencies>\
             </dependencyManagement><!-- c --><dependencies>{}</dependencies></project>",
            dependency("only-managed", "<version>1</version>"),
            dependencies.concat()
        );
        assert_eq!(
            names_by(pom, &text),
            ["g:own@7", "g:plain@1.0", "g:property@2.1-jre"]
        );
    }

    #[test]
    fn entities_and_depth_are_bounded() {
        let bomb =
            "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><project>&b;</project>";
        assert!(names_by(pom, bomb).is_empty());
        assert!(names_by(pom, &"<a>".repeat(100_000)).is_empty());
        assert!(names_by(pom, "<project><dependencies>").is_empty());
        assert!(names_by(pom, "not XML").is_empty());
        let odd = dependency("a&amp;b", "<version>1</version>");
        let odd = format!("<project><dependencies>{odd}</dependencies></project>");
        assert!(names_by(pom, &odd).is_empty());
    }

    #[test]
    fn a_gradle_lock_names_what_is_run() {
        let text = "# comment\ncom.google.guava:guava:31.1-jre=compileClasspath,runtimeClasspath\n\
                    junit:junit:4.13=testCompileClasspath,testRuntimeClasspath\n\
                    org.x:y:1.0=compileClasspath\nempty=annotationProcessor\n";
        assert_eq!(names_by(gradle, text), ["com.google.guava:guava@31.1-jre"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(
            text in "(<project>|</project>|<dependencies>|<dependency>|<version>|</version>|\
                     <properties>|\\$\\{|\\}|<[a-z/!]|>|[a-z:=,\n&;]){0,40}",
        ) {
            let _ = names_by(pom, &text);
            let _ = names_by(gradle, &text);
        }
    }
}
