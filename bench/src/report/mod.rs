//! What a run leaves behind: results for machines, a table and a chart for people.

mod chart;
mod goals;
mod machine;
mod results;
mod table;

pub use chart::chart;
pub use machine::Machine;
pub use results::{Absent, Broker, Results, Run, Settings, Summary};
pub use table::{figures_text, markdown};
