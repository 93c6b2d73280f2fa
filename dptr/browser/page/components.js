// Connected regions of a map and the rectangles around them (dptr/photo/components.py). Points are [x, y].

// Horizontal runs of values above a threshold, by region: [[{ row, first, after }, ...], ...]. Corners connect.
export function regions(map, width, height, threshold) {
  const runs = [];
  const parent = [];
  const root = (node) => {
    while (parent[node] !== node) node = parent[node] = parent[parent[node]];
    return node;
  };
  let above = [0, 0]; // the runs of the row above: the first, and that behind the last
  for (let row = 0; row < height; row += 1) {
    const begin = runs.length;
    let from = above[0];
    for (let x = 0, at = row * width; x < width; x += 1) {
      if (!(map[at + x] > threshold)) continue;
      const first = x;
      while (x < width && map[at + x] > threshold) x += 1;
      const own = runs.push({ row, first, after: x }) - 1;
      parent.push(own);
      while (from < above[1] && runs[from].after < first) from += 1;
      for (let other = from; other < above[1] && runs[other].first <= x; other += 1) {
        const [one, two] = [root(own), root(other)];
        parent[Math.max(one, two)] = Math.min(one, two);
      }
    }
    above = [begin, runs.length];
  }
  const found = new Map();
  runs.forEach((run, index) => {
    const own = root(index);
    if (!found.has(own)) found.set(own, []);
    found.get(own).push(run);
  });
  return [...found.values()];
}

// The corners of the convex hull, in order (Andrew's monotone chain).
function convexHull(points) {
  const sorted = [...points].sort((one, two) => one[0] - two[0] || one[1] - two[1]);
  const ordered = sorted.filter(([x, y], at) => !at || x !== sorted[at - 1][0] || y !== sorted[at - 1][1]);
  if (ordered.length < 3) return ordered;
  const turn = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
  return [ordered, [...ordered].reverse()].flatMap((sequence) => {
    const chain = [];
    for (const point of sequence) {
      while (chain.length > 1 && turn(chain.at(-2), chain.at(-1), point) <= 0) chain.pop();
      chain.push(point);
    }
    return chain.slice(0, -1);
  });
}

// The rectangle of least area that holds all points: its corners clockwise, from that nearest to the top left.
export function smallestRectangle(points) {
  const hull = convexHull(points);
  let best = { area: Infinity };
  hull.forEach((point, index) => {
    const next = hull[(index + 1) % hull.length];
    const length = Math.hypot(next[0] - point[0], next[1] - point[1]);
    if (!length) return;
    const [ux, uy] = [(next[0] - point[0]) / length, (next[1] - point[1]) / length];
    const along = hull.map(([x, y]) => x * ux + y * uy);
    const across = hull.map(([x, y]) => -x * uy + y * ux);
    const [left, right, top, bottom] = [Math.min(...along), Math.max(...along), Math.min(...across), Math.max(...across)];
    const area = (right - left) * (bottom - top);
    if (area < best.area) best = { area, ux, uy, sides: [[left, top], [right, top], [right, bottom], [left, bottom]] };
  });
  const corners = best.sides.map(([u, v]) => [u * best.ux - v * best.uy, u * best.uy + v * best.ux]);
  const sums = corners.map(([x, y]) => x + y);
  return roll(corners, -sums.indexOf(Math.min(...sums)));
}

// The same points in the same order, begun by as many later (as numpy's roll).
export function roll(points, by) {
  return points.map((_, index) => points[(index - by + 2 * points.length) % points.length]);
}
