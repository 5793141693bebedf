//! How a file and a function look: size, opening words, reasons.

use super::source::{Finding, Source, closing};

/// Lines beyond which a file is looked at with suspicion.
const FILE_LINES_SOFT: usize = 350;
/// Lines that no file exceeds.
const FILE_LINES_HARD: usize = 600;
/// Lines that no function exceeds: one screen.
const FUNCTION_LINES: usize = 70;
/// Bytes of the first line, below which it says nothing.
const OPENING_BYTES: usize = 20;

/// True for a file that is perhaps two.
pub fn is_long(source: &Source) -> bool {
    source.text.lines().count() > FILE_LINES_SOFT
}

/// No file is longer than it can be kept in mind.
pub fn file_size(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_HARD {
        return Vec::new();
    }
    vec![source.finding(0, format!("{lines} lines, {FILE_LINES_HARD} at most: one noun or one verb a file"))]
}

/// No function is longer than a screen.
pub fn function_size(source: &Source) -> Vec<Finding> {
    let code = &source.code;
    let mut findings = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let is_word = at == 0 || !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let Some(open) = code[at..].find(['{', ';']).map(|i| at + i).filter(|_| is_word) else { continue };
        let end = if code[open..].starts_with('{') { closing(code, open) } else { open };
        let lines = code[at..end].matches('\n').count() + 1;
        if lines > FUNCTION_LINES {
            let name: String =
                code[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let what = format!(
                "`{name}` has {lines} lines, {FUNCTION_LINES} at most: control flow in the parent, work in the leaves"
            );
            findings.push(source.finding(code[..at].matches('\n').count() + 1, what));
        }
    }
    findings
}

/// A file says first what it is.
pub fn opening(source: &Source) -> Vec<Finding> {
    let first = source.text.lines().next().unwrap_or_default();
    if first.starts_with("//! ") && first.len() >= OPENING_BYTES {
        return Vec::new();
    }
    vec![source.finding(1, "a file opens with `//!`: what it is, and what it never does")]
}

/// Each `expect` of the program has a comment above its statement: why it cannot fail.
pub fn expects(source: &Source) -> Vec<Finding> {
    let lines: Vec<&str> = source.text.lines().collect();
    let is_broken = |number: &usize| !has_reason(&lines, number - 1);
    let here =
        source.lines().filter(|line| !line.is_test && line.code.contains(".expect(")).map(|l| l.number);
    let message = "`expect` without its reason: a comment on the line above says why it cannot fail";
    here.filter(is_broken).map(|number| source.finding(number, message)).collect()
}

/// Looks upwards from a line, through its own statement, for a comment.
fn has_reason(lines: &[&str], mut at: usize) -> bool {
    while at > 0 {
        at -= 1;
        let above = lines[at].trim();
        if above.starts_with("//") {
            return true;
        }
        if above.is_empty() || above.ends_with([';', '{', '}', ',']) {
            return false;
        }
    }
    false
}

#[test]
fn long_files_and_functions_are_found() {
    let lines = |count: usize| "    a();\n".repeat(count);
    let source = |text: &str| Source::new("core/src/a.rs", text);
    assert!(file_size(&source(&lines(600))).is_empty());
    assert_eq!(file_size(&source(&lines(601))).len(), 1);
    assert!(!is_long(&source(&lines(350))));
    assert!(is_long(&source(&lines(351))));
    let function = |count| {
        format!(
            "//! x\n\nimpl A {{\n    pub fn long(\n        a: u8,\n    ) {{\n{}    }}\n}}\n",
            lines(count)
        )
    };
    assert!(function_size(&source(&function(66))).is_empty());
    let findings = function_size(&source(&function(67)));
    assert_eq!((findings.len(), findings[0].line), (1, 4));
    assert!(findings[0].message.starts_with("`long` has 71 lines"), "{findings:?}");
}

#[test]
fn a_closure_type_or_a_declaration_is_no_long_function() {
    let text =
        format!("trait A {{\n    fn a(&self);\n{}}}\nfn b(c: impl Fn(u8)) {{}}\n", "    // x\n".repeat(90));
    assert!(function_size(&Source::new("core/src/a.rs", &text)).is_empty());
}

#[test]
fn a_file_without_words_is_found() {
    for text in
        ["", "use a;\n", "// What it is, but not said of the file.\n", "//! x\n", "\n//! What it is.\n"]
    {
        assert_eq!(opening(&Source::new("core/src/a.rs", text)).len(), 1, "{text}");
    }
    assert!(opening(&Source::new("core/src/a.rs", "//! What it is, and more.\n")).is_empty());
}

#[test]
fn an_expect_without_reason_is_found() {
    let findings = |text: &str| expects(&Source::new("core/src/a.rs", text)).len();
    assert_eq!(findings("fn a() {\n    b().expect(\"c\");\n}\n"), 1);
    assert_eq!(findings("fn a() {\n    // Why.\n    b().expect(\"c\");\n}\n"), 0);
    assert_eq!(findings("fn a() {\n    // Why.\n    let x = b()\n        .expect(\"c\");\n}\n"), 0);
    assert_eq!(findings("fn a() {\n    // Of d.\n    d();\n    b().expect(\"c\");\n}\n"), 1);
    assert_eq!(findings("#[cfg(test)]\nmod t {\n    fn a() {\n        b().expect(\"c\");\n    }\n}\n"), 0);
}
