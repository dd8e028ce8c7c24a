//! Turns JSON records and CSV tables into the tensors of a model of tabular data.
//!
//! Values go from the text straight into the tensors' bytes: there is no table of values in between.

mod cell;
mod column;
mod csv;
mod describe;
mod nearest;
mod records;
mod table;

use std::rc::Rc;

use bulkhead_sdk::prelude::*;

use cell::{Kind, Stored};
use column::{Column, Dtype};
use table::Table;

/// The configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tabular {
    /// In the order in which the model takes them; a request's clone shares them.
    columns: Rc<[Column]>,
    #[serde(default)]
    layout: Layout,
    /// Name of the tensor, where there is one.
    input: Option<String>,
    /// Its element type.
    dtype: Option<MatrixType>,
}

/// How columns become tensors.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Layout {
    /// One tensor of shape `[rows, columns]`.
    #[default]
    Matrix,
    /// One tensor of shape `[rows, 1]` for each column, as pipelines exported from scikit-learn take them.
    Columns,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum MatrixType {
    #[default]
    Fp32,
    Int64,
}

impl Transform for Tabular {
    fn before(&mut self, payload: Payload) -> Result<Step> {
        let mut table = Table::new(self);
        match &payload {
            Payload::Json(text) => records::read(text, &mut table)?,
            Payload::Blob(blob) if is_csv(&blob.content_type) => csv::read(&blob.data, &mut table)?,
            other => return Err(other.is_not("JSON records or a table of type `text/csv`")),
        }
        Ok(Step::Proceed(table.into_tensors()?.into()))
    }

    fn describe(&self) -> Description {
        describe::describe(self)
    }

    fn check(&self) -> Result<()> {
        if self.columns.is_empty() {
            return Err(Error::invalid("/columns", "`columns` is empty"));
        }
        let is_columns = self.layout == Layout::Columns;
        for (key, is_set) in [("input", self.input.is_some()), ("dtype", self.dtype.is_some())] {
            if is_columns && is_set {
                return Err(Error::invalid(
                    format!("/{key}"),
                    format!("`{key}` is of the layout \"matrix\"; tensors of the layout \"columns\" are named and typed by their columns"),
                ));
            }
        }
        (0..self.columns.len()).try_for_each(|index| self.check_column(index))
    }
}

impl Tabular {
    fn input(&self) -> &str {
        self.input.as_deref().unwrap_or("features")
    }

    /// How values of a column are stored.
    fn kind(&self, column: &Column) -> Kind {
        let stored = match (self.layout, self.dtype.unwrap_or_default(), column.dtype) {
            (Layout::Matrix, MatrixType::Fp32, _) | (Layout::Columns, _, None | Some(Dtype::Float)) => Stored::F32,
            (Layout::Matrix, MatrixType::Int64, _) | (Layout::Columns, _, Some(Dtype::Int)) => Stored::I64,
            (Layout::Columns, _, Some(Dtype::String)) => Stored::Text,
        };
        Kind { stored, integers: stored == Stored::I64 || column.dtype == Some(Dtype::Int) }
    }

    fn check_column(&self, index: usize) -> Result<()> {
        let column = &self.columns[index];
        let refuse = |key: &str, message: String| Err(Error::invalid(format!("/columns/{index}{key}"), message));
        if self.columns[..index].iter().any(|other| other.name == column.name) {
            return refuse("", format!("column `{}` is named twice", column.name));
        }
        match (column.dtype, self.layout) {
            (Some(Dtype::String), _) if column.categories.is_some() => {
                return refuse("/dtype", "`categories` make numbers of strings: leave out one of the two".to_owned());
            }
            (Some(Dtype::String), Layout::Matrix) => {
                return refuse("/dtype", "a matrix holds no strings: give the column `categories`, or the layout \"columns\"".to_owned());
            }
            (Some(Dtype::Float), Layout::Matrix) if self.dtype == Some(MatrixType::Int64) => {
                return refuse("/dtype", "a matrix of INT64 holds no floats".to_owned());
            }
            _ => {}
        }
        let kind = self.kind(column);
        for (_, code) in column.categories.iter().flat_map(|categories| categories.iter()) {
            if let Err(message) = cell::number(kind, code) {
                return refuse("/categories", message);
            }
        }
        match column.imputed(kind) {
            Some(Err(message)) => refuse("/missing", message),
            _ => Ok(()),
        }
    }
}

fn is_csv(content_type: &str) -> bool {
    content_type.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/csv"))
}

bulkhead_sdk::transform!(Tabular);
