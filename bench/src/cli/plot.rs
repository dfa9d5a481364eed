//! `sluice-bench plot`.

use super::{say, say_json, tell};
use crate::failure::{During, Result};
use crate::report::{Results, chart, markdown};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(super) struct PlotArguments {
    /// A results.json.
    results: PathBuf,
    /// Where results.md and results.svg go; beside the file if left out.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the results as JSON instead of the table.
    #[arg(long)]
    json: bool,
}

pub(super) fn plot(arguments: &PlotArguments) -> Result<()> {
    let file = arguments.results.display();
    let text = std::fs::read_to_string(&arguments.results).during(&file)?;
    let mut results: Results = serde_json::from_str(&text).during(&file)?;
    results.summarise();
    let beside = arguments.results.parent().unwrap_or(Path::new("."));
    write(&results, arguments.out.as_deref().unwrap_or(beside))?;
    if arguments.json {
        return say_json(&results);
    }
    say(&markdown(&results));
    Ok(())
}

/// Writes what people look at.
pub(super) fn write(results: &Results, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory).during(directory.display())?;
    let put = |name: &str, text: String| {
        let path = directory.join(name);
        std::fs::write(&path, text).during(path.display())
    };
    put("results.md", markdown(results))?;
    match chart(results) {
        Ok(svg) => put("results.svg", svg),
        Err(why) => {
            tell(&format!("no chart: {why}"));
            Ok(())
        }
    }
}
