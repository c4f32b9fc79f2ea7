//! Report of cases in the JUnit XML format, which CI systems read.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

/// A case with its result.
#[derive(Debug, Clone)]
pub struct JunitCase<'a> {
    /// File of the case.
    pub file: &'a str,
    /// Name of the case.
    pub name: &'a str,
    /// Line of the case, from 1.
    pub line: usize,
    /// Differences, one line each. Empty if the case passes.
    pub failure: Vec<String>,
}

/// Writes a report. `suite` names the tested bundle or resolver.
///
/// # Errors
///
/// None: the writer writes into memory. The error type is that of the XML writer.
pub fn junit(suite: &str, cases: &[JunitCase<'_>]) -> io::Result<String> {
    let failures = cases.iter().filter(|case| !case.failure.is_empty()).count().to_string();
    let tests = cases.len().to_string();
    let suite = line(suite);
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let element = writer.create_element("testsuites").with_attributes([("tests", &*tests), ("failures", &*failures)]);
    element.write_inner_content(|writer| {
        let attributes = [("name", &*suite), ("tests", &*tests), ("failures", &*failures), ("errors", "0")];
        let element = writer.create_element("testsuite").with_attributes(attributes);
        element.write_inner_content(|writer| cases.iter().try_for_each(|case| write_case(writer, case)))?;
        Ok(())
    })?;
    let mut xml = String::from_utf8(writer.into_inner()).unwrap_or_default();
    xml.push('\n');
    Ok(xml)
}

fn write_case(writer: &mut Writer<Vec<u8>>, case: &JunitCase<'_>) -> io::Result<()> {
    let (file, name, number) = (line(case.file), line(case.name), case.line.to_string());
    let attributes = [("classname", &*file), ("name", &*name), ("file", &*file), ("line", &*number)];
    let element = writer.create_element("testcase").with_attributes(attributes);
    let Some(first) = case.failure.first() else {
        element.write_empty()?;
        return Ok(());
    };
    let lines: Vec<String> = case.failure.iter().map(|text| line(text)).collect();
    element.write_inner_content(|writer| {
        let failure = writer.create_element("failure").with_attribute(("message", &*line(first)));
        failure.write_text_content(BytesText::new(&lines.join("\n")))?;
        Ok(())
    })?;
    Ok(())
}

/// Returns a text in one line, without the characters that XML 1.0 does not have.
fn line(text: &str) -> String {
    bundles::one_line(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_has_each_case_and_escapes_texts() {
        let case = |name, failure: &[&str]| JunitCase {
            file: "tests/a.toml",
            name,
            line: 3,
            failure: failure.iter().map(|&line| line.to_owned()).collect(),
        };
        let cases = [case("passes", &[]), case("<fails> & \"quotes\"\u{202e}", &["tools: ]]> <", "second line"])];
        assert_eq!(
            junit("my-team", &cases).expect("written"),
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="2" failures="1">
  <testsuite name="my-team" tests="2" failures="1" errors="0">
    <testcase classname="tests/a.toml" name="passes" file="tests/a.toml" line="3"/>
    <testcase classname="tests/a.toml" name="&lt;fails&gt; &amp; &quot;quotes&quot;\u{202e}" file="tests/a.toml" line="3">
      <failure message="tools: ]]&gt; &lt;">tools: ]]&gt; &lt;
second line</failure>
    </testcase>
  </testsuite>
</testsuites>
"#
        );
    }
}
