//! Lists for people: columns as wide as they have to be.

/// Prints a table with a headline; the last column is not padded.
pub fn print(headline: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain([headline[column].len()])
            .max()
    };
    let widths: Vec<usize> = (0..headline.len()).map(|column| width(column).unwrap_or(0)).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}", width = *width))
            .collect();
        println!("{}", padded.join("  ").trim_end());
    };
    line(headline.to_vec());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
}
