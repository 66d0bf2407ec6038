//! Errors with their causes, for logs.

use std::error::Error;
use std::fmt;

/// Prints an error and its causes in one line, separated by colons.
///
/// No error of the workspace shows its source in its own `Display`, so each cause appears once.
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(formatter, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Failed(&'static str, Option<Box<Failed>>);

    impl fmt::Display for Failed {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str(self.0)
        }
    }

    impl Error for Failed {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|cause| cause as &dyn Error)
        }
    }

    #[test]
    fn causes_follow_in_order() {
        let error = Failed(
            "a",
            Some(Box::new(Failed("b", Some(Box::new(Failed("c", None)))))),
        );
        assert_eq!(Chain(&error).to_string(), "a: b: c");
    }
}
