//! A chart as an SVG, by plotters.

use super::report::{figure, label};
use super::{Curve, Measured, Scale, Whose};
use crate::error::{BenchError, Result};
use crate::sample::as_figure;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

const FONT: (&str, i32) = ("sans-serif", 16);
const SIZE: (u32, u32) = (920, 440);
/// Right of the curves, so that the names lie on none of them.
const NAMES_WIDTH: u32 = 200;
/// Told apart also by those who see few colours.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 94, 60),
    RGBColor(90, 90, 90),
];

pub(super) fn svg(measured: &Measured) -> Result<String> {
    let mut text = String::new();
    paint(measured, &mut text).map_err(|error| BenchError::Failed(format!("drawing: {error}")))?;
    Ok(text)
}

type Failure = Box<dyn std::error::Error>;

fn paint(measured: &Measured, into: &mut String) -> std::result::Result<(), Failure> {
    let figures = || measured.curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
    let (least, most) = (figures().fold(f64::MAX, f64::min), figures().fold(0.0, f64::max));
    let (first, last) = ends(measured);
    let area = SVGBackend::with_string(into, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut builder = ChartBuilder::on(&area);
    builder.caption(measured.chart.title, ("sans-serif", 20));
    builder.margin(12).margin_right(NAMES_WIDTH).x_label_area_size(42).y_label_area_size(78);
    let x = (first..last).log_scale().base(base(measured, last));
    if measured.chart.is_y_logarithmic {
        let y = (least.max(1e-3) / 1.3..most.max(1e-2) * 1.3).log_scale();
        curves(builder.build_cartesian_2d(x, y)?, measured)?;
    } else {
        curves(builder.build_cartesian_2d(x, 0.0..most.max(0.1) * 1.2)?, measured)?;
    }
    area.present()?;
    drop(area);
    Ok(())
}

/// The least and the greatest value of the parameter; logarithms need two that differ.
fn ends(measured: &Measured) -> (f64, f64) {
    let first = measured.points.first().map_or(1.0, |&x| as_figure(x));
    let last = measured.points.last().map_or(1.0, |&x| as_figure(x));
    (first, last.max(first * 2.0))
}

/// Of the logarithm, so that the marks on the axis are round numbers.
fn base(measured: &Measured, last: f64) -> f64 {
    match measured.chart.scale {
        Scale::Bytes => 8.0,
        Scale::Count if last <= 64.0 => 2.0,
        _ => 10.0,
    }
}

fn curves<'a, X, Y>(
    mut on: ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
    measured: &Measured,
) -> std::result::Result<(), Failure>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let chart = measured.chart;
    let right = on.plotting_area().dim_in_pixel().0.try_into()?;
    on.configure_mesh()
        .x_desc(chart.x)
        .y_desc(chart.y)
        .x_labels(9)
        .max_light_lines(0)
        .label_style(FONT)
        .axis_desc_style(FONT)
        .x_label_formatter(&|x| label(chart.scale, *x))
        .y_label_formatter(&|y| figure(*y))
        .draw()?;
    for (curve, colour) in measured.curves.iter().zip(COLOURS.iter().cycle()) {
        if curve.points.is_empty() {
            continue;
        }
        let style = colour.stroke_width(width(curve));
        let points = || curve.points.iter().map(|&(x, y)| (as_figure(x), y));
        on.draw_series(LineSeries::new(points(), style).point_size(3))?
            .label(curve.series.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    on.configure_series_labels()
        .label_font(FONT)
        .position(SeriesLabelPosition::Coordinate(right, 0))
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

/// Ours are drawn thicker.
fn width(curve: &Curve) -> u32 {
    if matches!(curve.series.whose, Whose::Ours) { 3 } else { 1 }
}
