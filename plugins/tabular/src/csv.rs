//! CSV (RFC 4180) with a header, written into the table while it is read.
//!
//! By hand, because readers of CSV build tables of states first, and an instance lives for one request. Beyond the RFC:
//! lines may end in LF or CR alone, blank ones are skipped, and a byte order mark is.

use std::borrow::Cow;

use bulkhead_sdk::{Error, Result};

use crate::cell::Raw;
use crate::table::{Rows, Table};

/// Reads a table; an empty field is a missing value.
pub(crate) fn read(data: &[u8], table: &mut Table<'_>) -> Result<()> {
    let text = std::str::from_utf8(data).map_err(|error| Error::invalid("", format!("the table is not UTF-8: {error}")))?;
    let mut reader = Reader { rest: text.trim_start_matches('\u{feff}') };
    let columns = header(&mut reader, table)?;
    table.place(Rows::At(""));
    while reader.skip_blank_lines() {
        table.begin_row()?;
        row(&mut reader, &columns, table)?;
        table.end_row()?;
    }
    Ok(())
}

fn header(reader: &mut Reader<'_>, table: &mut Table<'_>) -> Result<Vec<usize>> {
    if !reader.skip_blank_lines() {
        return Err(Error::invalid("", "expected a header with the names of the columns, got an empty table"));
    }
    let mut columns = Vec::new();
    loop {
        let (name, is_last) = reader.field().map_err(|message| Error::invalid("", format!("the header: {message}")))?;
        let name = name.trim();
        let column = table.column(columns.len(), name).ok_or_else(|| Error::invalid("", table.unknown(name)))?;
        if columns.contains(&column) {
            return Err(Error::invalid("", format!("the header names column `{name}` twice")));
        }
        columns.push(column);
        if is_last {
            return Ok(columns);
        }
    }
}

fn row(reader: &mut Reader<'_>, columns: &[usize], table: &mut Table<'_>) -> Result<()> {
    for (index, column) in columns.iter().enumerate() {
        let (value, is_last) = reader.field().map_err(|message| Error::invalid(table.pointer_to(*column), message))?;
        table.put(*column, if value.is_empty() { Raw::Missing } else { Raw::Untyped(&value) })?;
        if is_last != (index + 1 == columns.len()) {
            let (relation, count) = (if is_last { "fewer" } else { "more" }, columns.len());
            return Err(Error::invalid(table.pointer(None), format!("the row has {relation} fields than the header, which names {count}")));
        }
    }
    Ok(())
}

/// What is left of the text.
struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    /// Whether there is something after them.
    fn skip_blank_lines(&mut self) -> bool {
        self.rest = self.rest.trim_start_matches(['\r', '\n']);
        !self.rest.is_empty()
    }

    /// The next field, and whether it is the last one of its line.
    fn field(&mut self) -> Result<(Cow<'t, str>, bool), &'static str> {
        let value = match self.rest.strip_prefix('"') {
            Some(rest) => self.quoted(rest)?,
            None => {
                let end = self.rest.bytes().position(|byte| matches!(byte, b',' | b'\n' | b'\r')).unwrap_or(self.rest.len());
                let (value, rest) = self.rest.split_at(end);
                self.rest = rest;
                Cow::Borrowed(value)
            }
        };
        match self.rest.strip_prefix(',') {
            Some(rest) => {
                self.rest = rest;
                Ok((value, false))
            }
            None => {
                self.rest = self.rest.strip_prefix("\r\n").or_else(|| self.rest.strip_prefix(['\r', '\n'])).unwrap_or(self.rest);
                Ok((value, true))
            }
        }
    }

    fn quoted(&mut self, mut rest: &'t str) -> Result<Cow<'t, str>, &'static str> {
        let mut value = Cow::Borrowed("");
        loop {
            let Some((part, after)) = rest.split_once('"') else { return Err("the quotes are never closed") };
            if value.is_empty() {
                value = Cow::Borrowed(part);
            } else {
                value.to_mut().push_str(part);
            }
            match after.strip_prefix('"') {
                Some(after) => {
                    value.to_mut().push('"');
                    rest = after;
                }
                None if after.is_empty() || after.starts_with([',', '\r', '\n']) => {
                    self.rest = after;
                    return Ok(value);
                }
                None => return Err("expected a comma or the line's end after the quotes"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Reader;

    fn lines(text: &str) -> Result<Vec<Vec<String>>, &'static str> {
        let mut reader = Reader { rest: text };
        let mut lines = Vec::new();
        while reader.skip_blank_lines() {
            let mut line = Vec::new();
            loop {
                let (value, is_last) = reader.field()?;
                line.push(value.into_owned());
                if is_last {
                    break;
                }
            }
            lines.push(line);
        }
        Ok(lines)
    }

    #[test]
    fn fields_as_in_the_rfc() {
        for (text, expected) in [
            ("a,b\r\nc,d\r\n", vec![vec!["a", "b"], vec!["c", "d"]]),
            ("a,b\nc,d", vec![vec!["a", "b"], vec!["c", "d"]]),
            ("a,b\rc,\r", vec![vec!["a", "b"], vec!["c", ""]]),
            ("\n\na\n\n\nb\n\n", vec![vec!["a"], vec!["b"]]),
            ("\"a\",\"b,\nc\"\n", vec![vec!["a", "b,\nc"]]),
            ("\"a \"\"b\"\" c\",\"\"\n", vec![vec!["a \"b\" c", ""]]),
            ("\"\"\"\",\"\"\"a\"\n", vec![vec!["\"", "\"a"]]),
            ("a \"b\" , c\n", vec![vec!["a \"b\" ", " c"]]),
            (",,\n", vec![vec!["", "", ""]]),
        ] {
            assert_eq!(lines(text).unwrap(), expected, "{text:?}");
        }
        assert!(lines("\"a").is_err());
        assert!(lines("\"a\"b,c").is_err());
    }
}
