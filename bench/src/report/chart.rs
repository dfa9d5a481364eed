//! The chart: processor time for each delivered message, by case and broker.

use super::Results;
use crate::broker::Kind;
use crate::failure::{During, Failure, Result};
use crate::measure::Measure;
use plotters::prelude::*;

const WIDTH: u32 = 1000;
const HEAD: u32 = 110;
const CASE_HEIGHT: u32 = 26;
const BAR: f64 = 0.8;
/// Where the axis begins.
const MICROS_MIN: f64 = 0.1;

/// A bar of the chart: from where to where on the axis of cases, and how long.
struct Bar {
    from: f64,
    to: f64,
    micros: f64,
}

/// Draws the chart as SVG.
///
/// # Errors
/// When there is nothing to draw.
pub fn chart(results: &Results) -> Result<String> {
    let cpu = |case: &str, broker| {
        let summary = results.summary(case, broker)?;
        summary.figures.get(Measure::CpuMicrosPerMessage)
    };
    let brokers: Vec<Kind> = results.brokers.iter().map(|broker| broker.broker).collect();
    let cases: Vec<&str> = results
        .cases()
        .into_iter()
        .filter(|case| brokers.iter().any(|broker| cpu(case, *broker).is_some()))
        .collect();
    let values = cases
        .iter()
        .flat_map(|case| brokers.iter().filter_map(|broker| cpu(case, *broker)));
    let longest = values.fold(0.0, f64::max);
    if cases.is_empty() || longest <= 0.0 {
        return Err(Failure::new("no case measures processor time per message"));
    }
    let bars = |broker: Kind, index: usize| -> Vec<Bar> {
        let width = BAR / position(brokers.len());
        let bar = |(row, case): (usize, &&str)| {
            // From the top, in the order of the table.
            let top = position(cases.len() - row) - (1.0 - BAR) / 2.0;
            let to = top - position(index) * width;
            Some(Bar {
                from: to - width,
                to,
                micros: cpu(case, broker)?,
            })
        };
        cases.iter().enumerate().filter_map(bar).collect()
    };
    let groups: Vec<(Kind, Vec<Bar>)> = brokers
        .iter()
        .enumerate()
        .map(|(index, broker)| (*broker, bars(*broker, index)))
        .collect();
    draw(&cases, &groups, longest)
}

fn draw(cases: &[&str], groups: &[(Kind, Vec<Bar>)], longest: f64) -> Result<String> {
    const FAILED: &str = "the chart cannot be drawn";
    let rows = u32::try_from(cases.len()).unwrap_or(u32::MAX);
    let per_row = CASE_HEIGHT.max(9 * u32::try_from(groups.len()).unwrap_or(1));
    let height = rows.saturating_mul(per_row).saturating_add(HEAD);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE).during(FAILED)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(
                "Processor time of the broker per delivered message",
                ("sans-serif", 20),
            )
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(190)
            // A fan-out costs a hundredth of what a lone message costs.
            .build_cartesian_2d(
                (MICROS_MIN..longest * 1.2).log_scale(),
                0.0..position(cases.len()),
            )
            .during(FAILED)?;
        let label = |value: &f64| {
            let row = cases.iter().enumerate();
            row.into_iter()
                .find(|(row, _)| (position(cases.len() - row) - 0.5 - value).abs() < 0.01)
                .map_or_else(String::new, |(_, case)| (*case).to_owned())
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(cases.len() * 2 + 1)
            .y_label_formatter(&label)
            .x_desc("µs, logarithmic")
            .draw()
            .during(FAILED)?;
        for (index, (broker, bars)) in groups.iter().enumerate() {
            let colour = Palette99::pick(index).filled();
            let rectangles = bars
                .iter()
                .map(|bar| Rectangle::new([(MICROS_MIN, bar.from), (bar.micros, bar.to)], colour));
            chart
                .draw_series(rectangles)
                .during(FAILED)?
                .label(broker.to_string())
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], colour));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .border_style(BLACK)
            .draw()
            .during(FAILED)?;
        area.present().during(FAILED)?;
    }
    Ok(svg)
}

#[expect(clippy::cast_precision_loss, reason = "there are a few dozen cases")]
fn position(row: usize) -> f64 {
    row as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Figures;
    use crate::report::{Broker, Run};

    #[test]
    fn the_chart_names_every_case_and_broker() {
        let mut results = Results::default();
        for (broker, micros) in [(Kind::Sluice, 3.0), (Kind::Mosquitto, 9.0)] {
            let version = "1".into();
            results.brokers.push(Broker { broker, version });
            for case in ["fanin-q0", "fanout-q1", "pairs"] {
                results.runs.push(Run {
                    case: case.into(),
                    broker,
                    repeat: 1,
                    figures: Figures::default().with(Measure::CpuMicrosPerMessage, micros),
                    failed: None,
                });
            }
        }
        results.summarise();
        let svg = chart(&results).unwrap();
        for name in ["fanin-q0", "fanout-q1", "pairs", "sluice", "mosquitto"] {
            assert!(svg.contains(name), "{name} is missing in {svg}");
        }
    }

    #[test]
    fn without_processor_times_there_is_no_chart() {
        assert!(chart(&Results::default()).is_err());
    }
}
