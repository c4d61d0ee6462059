//! The graph as a picture that any browser shows.

use std::collections::{BTreeMap, BTreeSet};

use super::graph::{Graph, What};
use super::layout;

const CHARACTER: usize = 7;
const HEIGHT: usize = 28;
const ROW: usize = 44;
const GAP: usize = 90;
const MARGIN: usize = 20;

/// Where a node stands, in pixels.
#[derive(Clone, Copy)]
struct Place {
    x: usize,
    y: usize,
    width: usize,
}

pub(super) fn draw(graph: &Graph) -> String {
    let edges: BTreeSet<(usize, usize)> = graph
        .edges
        .iter()
        .map(|(from, to, _)| (*from, *to))
        .collect();
    let columns = layout::layers(graph.nodes.len(), &edges).columns;
    let (places, width, height) = place(graph, &columns);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n{STYLE}"
    );
    for (from, to, opened) in &graph.edges {
        if let (Some(from), Some(to)) = (places.get(from), places.get(to)) {
            out += &edge(*from, *to, *opened);
        }
    }
    for (number, (text, what)) in graph.nodes.iter().enumerate() {
        if let Some(place) = places.get(&number) {
            out += &node(*place, text, *what);
        }
    }
    out + "</svg>\n"
}

const STYLE: &str = "<style>
  rect { fill: #fff; stroke: #555 }
  .process { fill: #dcebff; stroke: #2458a6 }
  .program { fill: #e6f4e2; stroke: #3d7a2b }
  .other { fill: #f4f4f4; stroke-dasharray: 4 3 }
  path { fill: none; stroke: #888 }
  .opened { stroke-dasharray: 5 4; stroke: #b3541e }
</style>
<rect width=\"100%\" height=\"100%\" style=\"stroke:none\"/>
";

/// Every node's place, and the picture's width and height.
fn place(graph: &Graph, columns: &[Vec<usize>]) -> (BTreeMap<usize, Place>, usize, usize) {
    let text_width = |node: &usize| {
        graph
            .nodes
            .get(*node)
            .map_or(0, |(text, _)| text.chars().count())
            * CHARACTER
            + 20
    };
    let tallest = columns.iter().map(Vec::len).max().unwrap_or(0);
    let (mut places, mut x) = (BTreeMap::new(), MARGIN);
    for column in columns {
        let width = column.iter().map(text_width).max().unwrap_or(0);
        let top = MARGIN + (tallest - column.len()) * ROW / 2;
        for (row, node) in column.iter().enumerate() {
            places.insert(
                *node,
                Place {
                    x,
                    y: top + row * ROW,
                    width,
                },
            );
        }
        x += width + GAP;
    }
    let width = x.saturating_sub(GAP) + MARGIN;
    (places, width.max(2 * MARGIN), tallest * ROW + 2 * MARGIN)
}

fn edge(from: Place, to: Place, opened: bool) -> String {
    let (x1, y1) = (from.x + from.width, from.y + HEIGHT / 2);
    let (x2, y2) = (to.x, to.y + HEIGHT / 2);
    // Half a gap of straight way at each end keeps the curve out of the boxes.
    let (bend1, bend2) = (x1 + GAP / 2, x2.saturating_sub(GAP / 2));
    let class = if opened { " class=\"opened\"" } else { "" };
    format!("<path{class} d=\"M{x1} {y1} C{bend1} {y1} {bend2} {y2} {x2} {y2}\"/>\n")
}

fn node(place: Place, text: &str, what: What) -> String {
    let (class, round) = match what {
        What::Process => ("process", HEIGHT / 2),
        What::Program => ("program", 3),
        What::Library => ("library", 3),
        What::Other => ("other", 3),
    };
    let Place { x, y, width } = place;
    let (middle, line) = (x + width / 2, y + HEIGHT / 2 + 4);
    let text = escape(text);
    format!(
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{HEIGHT}\" rx=\"{round}\"/>\
         <text x=\"{middle}\" y=\"{line}\" text-anchor=\"middle\">{text}</text>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
