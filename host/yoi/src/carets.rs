//! Diagnostics as text: the line, a caret under the place, and the remedy.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use bundles::{Diagnostics, Severity, one_line};

/// Renders all diagnostics, one paragraph each.
pub(crate) fn render(diagnostics: &Diagnostics) -> String {
    let renderer = Renderer::styled();
    let mut text = String::new();
    for diagnostic in &diagnostics.list {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let (message, file) = (one_line(&diagnostic.message), one_line(&diagnostic.file));
        let help = one_line(&diagnostic.help);
        let title = level.primary_title(message.as_str()).id(diagnostic.code.as_str());
        let source = diagnostics.source_of(diagnostic);
        let group = match (source, &diagnostic.span) {
            (Some(source), Some(span)) => title.element(
                Snippet::source(source.masked.as_str())
                    .path(file.as_str())
                    .line_start(1)
                    .annotation(AnnotationKind::Primary.span(first_line(&source.masked, span))),
            ),
            _ => title.element(Level::NOTE.message(match &diagnostic.pointer {
                Some(pointer) => format!("in `{file}` at `{}`", one_line(pointer.as_str())),
                None => format!("in `{file}`"),
            })),
        };
        let group = group.element(Level::HELP.message(help.as_str()));
        text.push_str(&renderer.render(&[group]));
        text.push_str("\n\n");
    }
    text
}

/// Reduces a span to its first line. Carets under a table of thirty lines would hide the message.
fn first_line(text: &str, span: &std::ops::Range<usize>) -> std::ops::Range<usize> {
    let start = span.start.min(text.len());
    let end = span.end.clamp(start, text.len());
    let inside = text.get(start..end).unwrap_or_default();
    start..start + inside.find('\n').unwrap_or(inside.len())
}
