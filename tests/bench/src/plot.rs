//! Nanoseconds a packet over numbers of flows, as an SVG.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use plotters::prelude::*;

use crate::report::{Report, SIZES, target};
use crate::scenario::Mode;

/// Width and height in pixels.
const SIZE: (u32, u32) = (800, 480);

/// Text and lines, to be read on white and on black alike: the background stays transparent.
const INK: RGBColor = RGBColor(128, 128, 128);

/// One colour for each mode, from Okabe and Ito's palette, which the colour-blind can tell apart.
const fn colour(mode: Mode) -> RGBColor {
    match mode {
        Mode::Source => RGBColor(128, 128, 128),
        Mode::Dr => RGBColor(0, 158, 115),
        Mode::Tun => RGBColor(86, 180, 233),
        Mode::Nat => RGBColor(230, 159, 0),
        Mode::FullNat => RGBColor(204, 121, 167),
    }
}

/// Draws `from`'s results into `to`.
pub(crate) fn draw(from: &Path, to: &Path) -> Result<()> {
    let text = std::fs::read_to_string(from).with_context(|| from.display().to_string())?;
    let report: Report = serde_json::from_str(&text).with_context(|| from.display().to_string())?;
    ensure!(
        !report.results.is_empty(),
        "{} has no results",
        from.display()
    );
    chart(&report, to).map_err(|error| anyhow!("{}: {error}", to.display()))
}

fn chart(report: &Report, to: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let flows = report.results.iter().map(|o| o.flows);
    let (least, most) = (flows.clone().min().unwrap_or(1), flows.max().unwrap_or(1));
    let slowest = report
        .results
        .iter()
        .map(|o| o.ns_per_packet.max)
        .fold(0.0, f64::max);
    let across: Range<f64> = f64::from(least) * 0.8..f64::from(most) * 1.25;
    let ink = |size: i32| ("sans-serif", size).into_font().color(&INK);

    let area = SVGBackend::new(to, SIZE).into_drawing_area();
    let title = format!(
        "{}: one worker, {}-byte TCP",
        report.cpu, report.packet_bytes
    );
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ink(18))
        .margin(12)
        .margin_right(32)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(across.log_scale(), 0.0..slowest * 1.1)?;
    chart
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(INK.mix(0.25))
        .light_line_style(TRANSPARENT)
        .label_style(ink(14))
        .x_desc("established flows, visited at random")
        .y_desc("ns a packet, source included; dashed: target")
        .x_label_formatter(&|flows| short(*flows))
        .y_label_formatter(&|ns| format!("{ns:.0}"))
        .draw()?;
    let modes = [Mode::Source, Mode::Dr, Mode::Tun, Mode::Nat, Mode::FullNat];
    for mode in modes {
        let colour = colour(mode);
        let measured: Vec<_> = report.results.iter().filter(|o| o.mode == mode).collect();
        if measured.is_empty() {
            continue;
        }
        let point = |o: &&crate::report::Outcome| (f64::from(o.flows), o.ns_per_packet.median);
        chart
            .draw_series(LineSeries::new(
                measured.iter().map(point),
                colour.stroke_width(2),
            ))?
            .label(mode.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(measured.iter().map(|o| {
            let ns = &o.ns_per_packet;
            ErrorBar::new_vertical(
                f64::from(o.flows),
                ns.min,
                ns.median,
                ns.max,
                colour.filled(),
                8,
            )
        }))?;
        let targets = SIZES
            .into_iter()
            .filter(|size| (least..=most).contains(size));
        let targets = targets.filter_map(|n| Some((f64::from(n), 1000.0 / target(mode, n)?)));
        let dashed = DashedLineSeries::new(targets, 3, 5, colour.stroke_width(1));
        chart.draw_series(dashed)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(INK.mix(0.25))
        .label_font(ink(14))
        .draw()?;
    area.present()?;
    Ok(())
}

/// 1 000 000 as `1 M`.
fn short(flows: f64) -> String {
    match flows {
        n if n >= 1e6 => format!("{} M", n / 1e6),
        n if n >= 1e3 => format!("{} k", n / 1e3),
        n => n.to_string(),
    }
}
