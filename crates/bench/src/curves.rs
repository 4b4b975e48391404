//! How each cost grows: a workload with a parameter, measured at some points for us and our rivals in turns.
//!
//! ```text
//! cargo run --release -p procession-bench -- --curves [--quick] [chart prefix]
//! ```
//!
//! What is measured is in [`charts`], the drawing in [`draw`], the page around it in [`report`]. A series whose
//! point takes longer than its budget ends there, so that a run ends by itself.

mod charts;
mod draw;
mod machine;
mod report;

use crate::case::{Plan, Side, Turns};
use crate::error::{BenchError, Context, Result};
use crate::ours::Session;
use crate::report as screen;
use crate::sample::Summary::Median;
use machine::Machine;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a side needs to be built at a point of a curve.
type At = for<'a> fn(&'a Plan<'a>, u64) -> Result<Side<'a>>;

/// A picture: some curves over one parameter.
struct Chart {
    name: &'static str,
    title: &'static str,
    /// What is measured, and what the curves show, in a few sentences.
    text: &'static str,
    /// What the parameter is called, and how its values are written.
    x: &'static str,
    scale: Scale,
    y: &'static str,
    is_y_logarithmic: bool,
    better: Better,
    points: &'static [u64],
    /// Those of a quick run.
    quick: &'static [u64],
    series: &'static [Series],
}

/// One curve.
struct Series {
    name: &'static str,
    whose: Whose,
    setup: At,
    /// Where it is measured.
    from: u64,
    to: u64,
}

enum Whose {
    Ours,
    /// Compared with these curves of ours.
    Rival(&'static [&'static str]),
    /// What nothing can beat, or what everything should.
    Bound,
}

#[derive(Clone, Copy)]
enum Scale {
    Count,
    Bytes,
    Micros,
}

#[derive(Clone, Copy)]
enum Better {
    More,
    Less,
}

impl Better {
    /// More than 1: `ours` is better.
    fn times(self, ours: f64, rival: f64) -> f64 {
        match self {
            Better::More => ours / rival,
            Better::Less => rival / ours,
        }
    }
}

/// A curve as it was measured.
struct Curve {
    series: &'static Series,
    points: Vec<(u64, f64)>,
    /// Why it has fewer points than it could.
    end: Option<BenchError>,
}

impl Curve {
    fn at(&self, x: u64) -> Option<f64> {
        self.points.iter().find(|point| point.0 == x).map(|point| point.1)
    }
}

/// A chart with its curves.
struct Measured {
    chart: &'static Chart,
    points: &'static [u64],
    curves: Vec<Curve>,
}

/// Measures all charts whose names start with `prefix`, and draws them. The page is written when none is left
/// out; otherwise what there is goes beside the results of the bench.
pub(crate) fn run(quick: bool, prefix: &str) -> Result<()> {
    let chosen: Vec<_> = charts::ALL.iter().filter(|chart| chart.name.starts_with(prefix)).collect();
    if chosen.is_empty() {
        return Err(BenchError::Failed(format!("no chart starts with {prefix:?}")));
    }
    let machine = Machine::look()?;
    let session = Session::start()?;
    let started = Instant::now();
    let plan = Plan::for_curves(quick, &session);
    let mut all = Vec::new();
    for chart in chosen {
        screen::progress(chart.title);
        let measured = measure(chart, &plan, quick);
        screen::progress(&report::table(&measured));
        all.push(measured);
    }
    let took = started.elapsed();
    write(&folder(prefix), &all, &report::page(&all, &machine, quick, took))?;
    session.end()?;
    // A rival that fails is a gap, of which the page tells why.
    let failed = |curve: &&Curve| {
        matches!(curve.series.whose, Whose::Ours) && matches!(curve.end, Some(BenchError::Failed(_)))
    };
    let failures: Vec<_> = all.iter().flat_map(|measured| &measured.curves).filter(failed).collect();
    match failures.first().and_then(|curve| curve.end.clone().map(|end| end.context(curve.series.name))) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Where the page goes.
fn folder(prefix: &str) -> PathBuf {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    root.join(if prefix.is_empty() { "docs" } else { "target/bench" })
}

fn write(folder: &Path, all: &[Measured], page: &str) -> Result<()> {
    let charts = folder.join("charts");
    std::fs::create_dir_all(&charts).context(charts.display())?;
    for measured in all {
        let path = charts.join(format!("{}.svg", measured.chart.name));
        std::fs::write(&path, draw::svg(measured)?).context(path.display())?;
    }
    let path = folder.join("performance.md");
    std::fs::write(&path, page).context(path.display())
}

fn measure(chart: &'static Chart, plan: &Plan<'_>, quick: bool) -> Measured {
    let points = if quick { chart.quick } else { chart.points };
    let curve = |series| Curve { series, points: Vec::new(), end: None };
    let mut curves: Vec<Curve> = chart.series.iter().map(curve).collect();
    for &x in points {
        measure_point(&mut curves, plan, x, budget(quick));
    }
    for curve in &mut curves {
        // Nothing is missing.
        let last = points.iter().rev().find(|&&x| x <= curve.series.to);
        if curve.points.last().map(|point| &point.0) == last {
            curve.end = None;
        }
    }
    Measured { chart, points, curves }
}

/// How long one point of a series may take. Whatever takes longer is not tried at the next point.
fn budget(quick: bool) -> Duration {
    if quick { Duration::from_millis(1_100) } else { Duration::from_secs(3) }
}

/// The curves take turns, as the sides of a case do.
fn measure_point(curves: &mut [Curve], plan: &Plan<'_>, x: u64, budget: Duration) {
    let open = curves.iter_mut().filter(|curve| curve.end.is_none());
    let mut turns: Vec<Turn<'_>> = open
        .filter(|curve| (curve.series.from..=curve.series.to).contains(&x))
        .map(|curve| Turn::start(curve, plan, x))
        .collect();
    for _ in 0..plan.rounds {
        for turn in turns.iter_mut().filter(|turn| turn.rounds == 0 || turn.took < budget) {
            turn.play();
        }
    }
    for turn in turns {
        turn.end(x, budget);
    }
}

/// One curve at one point.
struct Turn<'a> {
    curve: &'a mut Curve,
    turns: Turns<'a>,
    rounds: u32,
    took: Duration,
}

impl<'a> Turn<'a> {
    fn start(curve: &'a mut Curve, plan: &'a Plan<'a>, x: u64) -> Self {
        let turns = Turns::of((curve.series.setup)(plan, x));
        Turn { curve, turns, rounds: 0, took: Duration::ZERO }
    }

    fn play(&mut self) {
        let started = Instant::now();
        self.turns.play();
        self.took += started.elapsed();
        self.rounds += 1;
    }

    fn end(self, x: u64, budget: Duration) {
        match self.turns.figure(Median) {
            Ok(figure) => self.curve.points.push((x, figure)),
            Err(error) => self.curve.end = Some(error),
        }
        if self.took / self.rounds.max(1) > budget && self.curve.end.is_none() {
            let why = "not measured where a round takes longer".to_owned();
            self.curve.end = Some(BenchError::Unavailable(why));
        }
    }
}
