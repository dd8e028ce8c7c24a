//! The tensors while rows are written into them.

use bulkhead_sdk::prelude::*;

use crate::cell::{self, Cell, Kind, Raw, Stored};
use crate::{Layout, Tabular, nearest};

/// Arbitrary: a batch of this size of a hundred columns is 40 MB.
const MAX_ROWS: usize = 100_000;

/// Where the rows stand in the body.
#[derive(Clone, Copy)]
pub(crate) enum Rows {
    /// The body is the row.
    Body,
    /// They are elements of the list at this pointer.
    At(&'static str),
}

/// The tensors while rows are written into them.
pub(crate) struct Table<'c> {
    config: &'c Tabular,
    kinds: Vec<Kind>,
    /// Bytes of the one tensor, or of each column's.
    stores: Vec<Vec<u8>>,
    /// For each column the last row, counted from 1, that has a value of it.
    seen: Vec<u32>,
    /// Which column the n-th key of the last record was: the next record most likely has the same.
    order: Vec<usize>,
    /// Finished rows.
    rows: usize,
    /// Values in the row that is being written.
    filled: usize,
    place: Rows,
}

impl<'c> Table<'c> {
    pub(crate) fn new(config: &'c Tabular) -> Self {
        let columns = config.columns.len();
        let stores = if config.layout == Layout::Matrix { 1 } else { columns };
        Self {
            config,
            kinds: config.columns.iter().map(|column| config.kind(column)).collect(),
            stores: vec![Vec::new(); stores],
            seen: vec![0; columns],
            order: (0..columns).collect(),
            rows: 0,
            filled: 0,
            place: Rows::Body,
        }
    }

    /// Says where the rows stand, for pointers.
    pub(crate) fn place(&mut self, place: Rows) {
        self.place = place;
    }

    /// Makes room for a row.
    pub(crate) fn begin_row(&mut self) -> Result<()> {
        if self.rows == MAX_ROWS {
            let Rows::At(list) = self.place else { return Err(Error::internal("a body that is one row has more")) };
            return Err(Error::invalid(list, format!("more than {MAX_ROWS} rows: send them in several requests")));
        }
        self.filled = 0;
        if self.config.layout == Layout::Matrix {
            let row = self.kinds.iter().map(|kind| width(*kind)).sum::<usize>();
            let matrix = &mut self.stores[0];
            matrix.resize(matrix.len() + row, 0);
        }
        Ok(())
    }

    /// The column that the n-th key of a record names.
    pub(crate) fn column(&mut self, position: usize, name: &str) -> Option<usize> {
        let columns = &self.config.columns;
        if let Some(guess) = self.order.get(position)
            && columns[*guess].name == name
        {
            return Some(*guess);
        }
        let found = columns.iter().position(|column| column.name == name)?;
        if let Some(guess) = self.order.get_mut(position) {
            *guess = found;
        }
        Some(found)
    }

    /// Writes a value of the row.
    pub(crate) fn put(&mut self, index: usize, raw: Raw<'_>) -> Result<()> {
        let row = self.rows as u32 + 1;
        if self.seen[index] == row {
            return Err(self.refuse(index, "the column is given twice"));
        }
        self.seen[index] = row;
        self.filled += 1;
        if matches!(raw, Raw::Missing) {
            return self.impute(index, "a value is required, got none");
        }
        match cell::convert(&self.config.columns[index], self.kinds[index], raw) {
            Ok(cell) => {
                self.store(index, cell);
                Ok(())
            }
            Err(message) => Err(self.refuse(index, message)),
        }
    }

    /// Completes the row by what stands for missing values.
    pub(crate) fn end_row(&mut self) -> Result<()> {
        if self.filled < self.kinds.len() {
            let row = self.rows as u32 + 1;
            for index in 0..self.kinds.len() {
                if self.seen[index] != row {
                    self.impute(index, "the column is missing")?;
                }
            }
        }
        self.rows += 1;
        Ok(())
    }

    fn impute(&mut self, index: usize, refusal: &str) -> Result<()> {
        let config = self.config;
        match config.columns[index].imputed(self.kinds[index]) {
            Some(Ok(cell)) => {
                self.store(index, cell);
                Ok(())
            }
            Some(Err(message)) => Err(Error::internal(message)),
            None => Err(self.refuse(index, refusal)),
        }
    }

    fn store(&mut self, index: usize, cell: Cell<'_>) {
        match self.config.layout {
            Layout::Matrix => {
                let (kind, columns) = (self.kinds[index], self.kinds.len());
                let at = (self.rows * columns + index) * width(kind);
                let slot = &mut self.stores[0][at..at + width(kind)];
                match cell {
                    Cell::F32(value) => slot.copy_from_slice(&value.to_le_bytes()),
                    Cell::I64(value) => slot.copy_from_slice(&value.to_le_bytes()),
                    // `check` refuses columns of strings in a matrix.
                    Cell::Text(_) => {}
                }
            }
            // Each row has exactly one value of each column, so the order of columns within it does not matter.
            Layout::Columns => match cell {
                Cell::F32(value) => self.stores[index].extend_from_slice(&value.to_le_bytes()),
                Cell::I64(value) => self.stores[index].extend_from_slice(&value.to_le_bytes()),
                Cell::Text(value) => {
                    // A body of 4 GiB does not fit a 32-bit memory.
                    self.stores[index].extend_from_slice(&(value.len() as u32).to_le_bytes());
                    self.stores[index].extend_from_slice(value.as_bytes());
                }
            },
        }
    }

    /// The error of a name that is no column's.
    pub(crate) fn unknown(&self, name: &str) -> String {
        nearest::message("unknown column", name, self.config.columns.iter().map(|column| column.name.as_str()))
    }

    /// A JSON pointer to the row that is being written, or a value of it.
    pub(crate) fn pointer(&self, name: Option<&str>) -> String {
        let mut pointer = match self.place {
            Rows::Body => String::new(),
            Rows::At(list) => format!("{list}/{}", self.rows),
        };
        if let Some(name) = name {
            pointer.push('/');
            pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        }
        pointer
    }

    /// A JSON pointer to a value of the row that is being written.
    pub(crate) fn pointer_to(&self, index: usize) -> String {
        self.pointer(Some(&self.config.columns[index].name))
    }

    fn refuse(&self, index: usize, message: impl Into<String>) -> Error {
        Error::invalid(self.pointer_to(index), message)
    }

    pub(crate) fn into_tensors(self) -> Result<Tensors> {
        if self.rows == 0 {
            let Rows::At(list) = self.place else { return Err(Error::internal("a body that is one row has none")) };
            return Err(Error::invalid(list, "expected at least one row, got none"));
        }
        let rows = self.rows as i64;
        if self.config.layout == Layout::Matrix {
            let stored = self.kinds[0];
            let data = self.stores.into_iter().next().unwrap_or_default();
            let tensor = Tensor::from_bytes(self.config.input(), datatype(stored), &[rows, self.kinds.len() as i64], data)?;
            return Ok(tensor.into());
        }
        let columns = self.config.columns.iter().zip(self.kinds).zip(self.stores);
        columns.map(|((column, kind), data)| Tensor::from_bytes(column.name.as_str(), datatype(kind), &[rows, 1], data)).collect()
    }
}

/// Bytes of an element in a matrix.
fn width(kind: Kind) -> usize {
    match kind.stored {
        Stored::F32 => 4,
        Stored::I64 => 8,
        Stored::Text => 0,
    }
}

/// The datatype of a tensor of such elements.
pub(crate) fn datatype(kind: Kind) -> Datatype {
    match kind.stored {
        Stored::F32 => Datatype::Fp32,
        Stored::I64 => Datatype::Int64,
        Stored::Text => Datatype::Bytes,
    }
}
